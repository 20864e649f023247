"""The simulator's settings and their command line."""

import argparse
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass

from testkit.ollama_simulator.catalogue import Catalogue
from testkit.ollama_simulator.size import read_size

DEFAULT_MODELS = ("qwen2.5vl:3b:vision", "gpt-oss:latest:thinking")  # the platform's defaults for its two steps


@dataclass(frozen=True, slots=True)
class Settings:
    """The defaults are Ollama's where Ollama has the same setting. MAX_LOADED_MODELS is that of a machine without GPU.

    `memory_bytes` None means unlimited. `prompt_cache_bytes` is the limit of one runner (LLAMA_ARG_CACHE_RAM).
    """

    host: str = "127.0.0.1"
    port: int = 11434
    num_parallel: int = 1
    max_loaded_models: int = 3
    max_queue: int = 512
    tokens_per_second: float = 200.0
    load_seconds: float = 0.5
    vision_seconds: float = 0.3
    models: tuple[str, ...] = DEFAULT_MODELS
    memory_bytes: int | None = None
    memory_return_seconds: float = 0.5
    prompt_cache_bytes: int = 8 * 2**30
    under_reporting: float = 1.0
    resurrection_bug: bool = True
    ps_spike_rate: float = 0.0
    ps_spike_seconds: float = 3.0
    seed: int = 0
    fault_rate: float = 0.0
    parent_pid: int | None = None


def parse(arguments: Sequence[str]) -> Settings:
    """Parse the command line. A wrong option prints an error and exits with status 2."""
    given = vars(_parser().parse_args(arguments))
    if "models" in given:
        given["models"] = tuple(given["models"])
    return Settings(**given)


def _parser() -> argparse.ArgumentParser:
    about = "Answers like Ollama 0.32.15, without a model. docs/simulator.md explains the options."
    parser = argparse.ArgumentParser(prog="ollama_simulator", description=about, argument_default=argparse.SUPPRESS)
    add = parser.add_argument
    add("--host", type=_loopback, help="loopback address to listen on (127.0.0.1)")
    add("--port", type=_port, help="0 takes a free one (11434)")
    spec = "NAME[:vision|:thinking|:rendered|:serial|:MANNER][:size=3GiB][:projector=1GB][:growth=1MB][:quant=F16][:context=8192]"
    add("--model", dest="models", type=_model, action="append", metavar=spec, help="repeatable (qwen2.5vl:3b, gpt-oss:latest)")
    add("--tokens-per-second", type=_rate, metavar="N", help="of each slot (200)")
    add("--load-seconds", type=_duration_seconds, metavar="S", help="to load a model (0.5)")
    add("--vision-seconds", type=_duration_seconds, metavar="S", help="to process one image (0.3)")
    add("--num-parallel", type=_at_least_one, metavar="N", help="slots of each model (1)")
    add("--max-loaded-models", type=_at_least_one, metavar="N", help="models loaded at the same time (3)")
    add("--max-queue", type=_at_least_one, metavar="N", help="requests that may wait for a load, further ones get 503 (512)")
    add("--resurrection-bug", action=argparse.BooleanOptionalAction, help="a keep_alive cancels an eviction, as in Ollama (yes)")
    _add_memory(parser)
    _add_chance(parser)
    pid_help = "end when the parent process ends (PID: its number, to detect an earlier end)"
    add("--die-with-parent", dest="parent_pid", type=int, nargs="?", const=os.getppid(), metavar="PID", help=pid_help)
    return parser


def _add_memory(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--memory", dest="memory_bytes", type=_size, metavar="SIZE", help="of the machine, such as 8GiB (unlimited)")
    add("--memory-return-seconds", type=_duration_seconds, metavar="S", help="until an unloaded model has freed its memory (0.5)")
    add("--prompt-cache", dest="prompt_cache_bytes", type=_size, metavar="SIZE", help="of each runner, not shown by ps (8GiB)")
    add("--under-reporting", type=_rate, metavar="N", help="ps shows the size divided by N (1)")


def _add_chance(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seed", type=int, metavar="N", help="of all random choices (0)")
    add("--fault-rate", type=_share, metavar="P", help="share of requests with a fault, 0 to 1 (0)")
    add("--ps-spike-rate", type=_share, metavar="P", help="share of slow requests to ps, 0 to 1 (0)")
    add("--ps-spike-seconds", type=_duration_seconds, metavar="S", help="duration of a slow request to ps (3)")


def _loopback(text: str) -> str:
    host = "127.0.0.1" if text == "localhost" else text
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise argparse.ArgumentTypeError(f"{text} is not a loopback address: the simulator has no access control")
    return host


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to 65535")
    return int(text)


def _model(text: str) -> str:
    try:
        Catalogue([text])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _size(text: str) -> int:
    try:
        return read_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


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
