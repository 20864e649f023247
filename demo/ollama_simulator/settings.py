"""The simulator's settings and their command line."""

import argparse
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_MODELS = ("qwen2.5vl:3b:vision", "gpt-oss:latest:thinking")  # the platform's defaults for its two stages


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults of host, port and num_parallel are Ollama's own (OLLAMA_HOST, OLLAMA_NUM_PARALLEL)."""

    host: str = "127.0.0.1"
    port: int = 11434
    num_parallel: int = 1
    tokens_per_second: float = 200.0
    load_seconds: float = 0.5
    vision_seconds: float = 0.3
    models: tuple[str, ...] = DEFAULT_MODELS
    seed: int = 0
    fault_rate: float = 0.0
    parent_pid: int | None = None


def parse(arguments: Sequence[str]) -> Settings:
    """Prints the error and exits with status 2 where an option is wrong."""
    given = _parser().parse_args(arguments)
    return Settings(
        host=given.host,
        port=given.port,
        num_parallel=given.num_parallel,
        tokens_per_second=given.tokens_per_second,
        load_seconds=given.load_seconds,
        vision_seconds=given.vision_seconds,
        models=tuple(given.model or DEFAULT_MODELS),
        seed=given.seed,
        fault_rate=given.fault_rate,
        parent_pid=given.die_with_parent,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ollama_simulator", description="Answers like Ollama 0.32.15, without a model.")
    add = parser.add_argument
    add("--host", type=_loopback, default="127.0.0.1", help="loopback address to listen on (127.0.0.1)")
    add("--port", type=_port, default=11434, help="0 takes a free one (11434)")
    add("--num-parallel", type=_at_least_one, default=1, metavar="N", help="slots of each model (1)")
    add("--tokens-per-second", type=_rate, default=200.0, metavar="N", help="of each slot (200)")
    add("--load-seconds", type=_duration_seconds, default=0.5, metavar="S", help="to load a model (0.5)")
    add("--vision-seconds", type=_duration_seconds, default=0.3, metavar="S", help="to look at one image (0.3)")
    add("--model", action="append", metavar="NAME[:vision|:thinking]", help="repeatable (qwen2.5vl:3b, gpt-oss:latest)")
    add("--seed", type=int, default=0, metavar="N", help="whatever is left to chance follows from it (0)")
    add("--fault-rate", type=_share, default=0.0, metavar="P", help="share of the requests that go wrong, 0 to 1 (0)")
    pid_help = "end when the parent ends; PID, if given, is the parent's own word for who that is"
    add("--die-with-parent", type=int, nargs="?", const=os.getppid(), metavar="PID", help=pid_help)
    return parser


def _loopback(text: str) -> str:
    host = "127.0.0.1" if text == "localhost" else text
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise argparse.ArgumentTypeError(f"{text} is not a loopback address: the simulator has no protection of any kind")
    return host


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to 65535")
    return int(text)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def _rate(text: str) -> float:
    rate = _duration_seconds(text)
    if rate == 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return rate


def _share(text: str) -> float:
    share = _duration_seconds(text)
    if share > 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return share


def _duration_seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")
    return number
