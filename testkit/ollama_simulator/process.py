"""Run the simulator as a child process, for tests, the demo and benchmarks."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from testkit.parent_death import die_with

PROJECT_ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 5.0
Option = str | float | bool | Sequence[str]


@dataclass(frozen=True, slots=True)
class SimulatorProcess:
    """A running simulator. `url` ends without a slash."""

    url: str
    pid: int
    client: httpx.Client

    def calls(self) -> list[dict[str, Any]]:
        """See call.Call for the fields."""
        calls: list[dict[str, Any]] = self._get("/_simulator/calls")
        return calls

    def reset_calls(self) -> None:
        self.client.delete("/_simulator/calls").raise_for_status()

    def state(self) -> dict[str, Any]:
        """See test_api.state for the fields."""
        state: dict[str, Any] = self._get("/_simulator/state")
        return state

    def fault(
        self,
        kind: str,
        model: str | None = None,
        times: int = 1,
        seconds: float = 1.0,
        text: str = "",
        containing: str = "",
    ) -> None:
        """Give a fault to the next `times` requests with a prompt, see fault.FaultKind.

        Only requests to `model` (None: any) that contain the text `containing` in prompt or picture count.
        """
        fault = {"fault": kind, "model": model, "times": times, "seconds": seconds, "text": text, "containing": containing}
        self.client.post("/_simulator/faults", json=fault).raise_for_status()

    def clear_faults(self) -> None:
        self.client.delete("/_simulator/faults").raise_for_status()

    def list_as(self, mode: str) -> None:
        """Set the mode of /api/ps, see listing.ListingMode."""
        self.client.post("/_simulator/listing", json={"mode": mode}).raise_for_status()

    def _get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()


@contextmanager
def start_simulator(**options: Option) -> Iterator[SimulatorProcess]:
    """Start with options of the command line, such as `num_parallel=2`, `model=["a:vision", "b"]`, on a free port.

    The simulator ends with the block, or with the *thread* that entered it (PR_SET_PDEATHSIG is per thread).
    Raises RuntimeError if it does not start.
    """
    child = _spawn(options)
    try:
        url = _listening_url(child)
        with httpx.Client(base_url=url, trust_env=False, timeout=START_SECONDS) as client:
            yield SimulatorProcess(url, child.pid, client)
    finally:
        _reap(child)


def _spawn(options: dict[str, Option]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "testkit.ollama_simulator"]
    for name, value in {"port": 0, **options}.items():
        command += _arguments(name.replace("_", "-"), value)
    tie = die_with(os.getpid(), signal.SIGKILL)
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT_ROOT, text=True, preexec_fn=tie)  # noqa: PLW1509


def _arguments(name: str, value: Option) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    values = [value] if isinstance(value, str | int | float) else value
    return [part for each in values for part in (f"--{name}", str(each))]


def _listening_url(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], START_SECONDS)
    line = child.stdout.readline() if ready else ""
    if not line.startswith("listening on "):
        raise RuntimeError(f"the Ollama simulator did not start within {START_SECONDS:g} s; exit status {child.poll()}")
    return line.removeprefix("listening on ").strip()


def _reap(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()
