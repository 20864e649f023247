"""Ask every host for its status once a second, as a process of its own, so that neither run nor sampler delays the other.

A document is read from each control socket of the runtime directory. Without one, the command `status` is run, because its words
are what an administrator reads then.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from testkit.chaos.run_record import StatusSample
from testkit.supervisor_process import PROGRAM, PROJECT_ROOT

PERIOD_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 3.0  # as the command waits
COMMAND_SECONDS: Final = 20.0
SOCKETS: Final = "run/*.sock"


@dataclass(frozen=True, slots=True)
class StatusSampler:
    """A running sampler, which appends one JSON object per sample to a file."""

    path: Path
    process: subprocess.Popen[bytes]

    def samples(self) -> tuple[StatusSample, ...]:
        whole, _, _ = self.path.read_text().rpartition("\n")
        return tuple(StatusSample(**json.loads(line)) for line in whole.splitlines())


@contextmanager
def start_sampler(path: Path, homes: list[Path]) -> Iterator[StatusSampler]:
    """Start a sampler. It ends with the block, or with this process, because its standard input ends then."""
    path.touch()
    command: list[str | Path] = [sys.executable, "-m", "testkit.chaos.status_sampler", path, *homes]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=PROJECT_ROOT, process_group=0)
    try:
        yield StatusSampler(path, process)
    finally:
        process.kill()
        process.communicate()


def _sample_for_ever(home: Path, path: Path) -> None:
    while True:
        began_at_seconds = time.monotonic()
        if (home / "service.env").exists():
            with path.open("a") as file:
                file.writelines(f"{json.dumps(asdict(sample))}\n" for sample in _samples(home))
        time.sleep(max(0.0, began_at_seconds + PERIOD_SECONDS - time.monotonic()))


def _samples(home: Path) -> list[StatusSample]:
    at = time.time()
    answers = [answer for socket in sorted(home.glob(SOCKETS)) if (answer := _document(socket))]
    state_and_message = answers or [_command(home)]
    return [StatusSample(at, home.name, *each, answered_at=time.time()) for each in state_and_message]


def _document(socket: Path) -> tuple[str, str] | None:
    """Return state and message of an instance, None without an answer."""
    try:
        transport = httpx.HTTPTransport(uds=str(socket), verify=False)
        with httpx.Client(transport=transport, timeout=ANSWER_SECONDS, trust_env=False) as client:
            document = client.get("http://instance/status").json()
    except (httpx.HTTPError, ValueError):
        return None
    return document["state"], document["message"]


def _command(home: Path) -> tuple[str, str]:
    """Return `not running` or `no answer`, and the first line that the command prints."""
    command: list[str | Path] = [PROGRAM, "status", "--env-file", home / "service.env"]
    try:
        done = subprocess.run(command, cwd=home, env={}, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "no answer", "the command did not end"
    first = next(iter((done.stdout or done.stderr).splitlines()), "")
    return "not running" if first.startswith("Not running") else "no answer", first


def _main(path: Path, homes: list[Path]) -> None:
    for home in homes:
        threading.Thread(target=_sample_for_ever, args=(home, path), daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), [Path(home) for home in sys.argv[2:]])
