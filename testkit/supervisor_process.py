"""A real supervisor as a child process, observed through its status, metrics, log and processes."""

import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

import httpx
import psutil

from testkit.parent_death import die_with
from testkit.waiting import LIMIT_SECONDS, until

PROJECT_ROOT: Final = Path(__file__).resolve().parents[1]
PROGRAM: Final = Path(sys.executable).with_name("learning-supervisor")
MARK: Final = "SUPERVISOR_MARK"  # in the environment of the supervisor and of all its descendants
STOP_SECONDS: Final = 90.0
COMMAND_SECONDS: Final = 30.0
FEEDBACK_SECONDS: Final = 15  # default of AI_TIMEOUT_FEEDBACK

Row = dict[str, Any]


def run_command(
    directory: Path,
    environ: Mapping[str, str],
    *arguments: str,
    program: tuple[str | Path, ...] = (PROGRAM,),
    timeout_seconds: float = COMMAND_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the product in `directory` to its end, with no other settings than these."""
    return subprocess.run(
        [*program, *arguments],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(PROJECT_ROOT), **environ},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class SupervisorProcess:
    process: subprocess.Popen[bytes]
    runtime_directory: Path
    log_path: Path
    mark: str

    @classmethod
    def spawn(
        cls,
        environ: Mapping[str, str],
        directory: Path,
        *,
        arguments: tuple[str | Path, ...] = ("start",),
        program: tuple[str | Path, ...] = (PROGRAM,),
        log_path: Path | None = None,
        stderr: IO[bytes] | int | None = None,
        death_signal: signal.Signals = signal.SIGQUIT,
        pass_fds: Collection[int] = (),
    ) -> Self:
        """Start a supervisor in `directory`, which must not contain the .env of another installation.

        `stderr` replaces the log file. The kernel sends `death_signal` when this process ends, also by SIGKILL. The
        supervisor has a process group of its own, so a Ctrl-C at the terminal does not reach it before this process.
        """
        mark, log_path = secrets.token_hex(8), log_path or directory / "supervisor.log"
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                [*program, *arguments],
                cwd=directory,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(PROJECT_ROOT), MARK: mark, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log if stderr is None else stderr,
                process_group=0,
                pass_fds=pass_fds,
                preexec_fn=die_with(os.getpid(), death_signal),  # noqa: PLW1509
            )
        return cls(process, Path(environ.get("RUNTIME_DIRECTORY", directory / "run")), log_path, mark)

    @property
    def pid(self) -> int:
        return self.process.pid

    # Status, metrics and log

    def status(self) -> Row:
        """Return the status document, as soon as a monitor answers. Raises RuntimeError if the supervisor has ended."""
        return until(self._running_status)

    def current_status(self) -> Row:
        """Return the status document, empty if no monitor answers."""
        with suppress(httpx.TransportError, psutil.Error, StopIteration), self._control() as client:
            answer: Row = client.get("http://instance/status").json()
            return answer
        return {}

    def workers(self) -> list[Row]:
        workers: list[Row] = self.status()["workers"]
        return workers

    def worker_pids(self) -> list[int]:
        """Return the pids of all workers, in the order of the slots."""
        return [worker["pid"] for worker in self.workers() if worker["pid"]]

    def monitor_pid(self) -> int:
        pid: int = self.status()["monitor"]["pid"]
        return pid

    def metrics(self) -> dict[str, float]:
        """Return the values of /metrics by name and labels."""
        lines = [line.rpartition(" ") for line in self.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def get(self, path: str) -> httpx.Response:
        """Send a request to the server at STATUS_ADDR, as soon as it listens."""
        address = until(lambda: self.status()["metrics_address"])
        return httpx.get(f"http://{address}{path}", trust_env=False, verify=False)

    def command(self, path: str, **body: object) -> httpx.Response:
        """Send a command over the control socket, as soon as a monitor answers."""
        self.status()
        with self._control() as client:
            return client.post(f"http://instance{path}", json=body)

    def log(self) -> list[str]:
        return self.log_path.read_text().splitlines()

    def logged(self, kind: str) -> list[dict[str, str]]:
        """Return the log lines of this kind: their details, time and level."""
        return [_details(line) for line in self.log() if line.split(" ", 3)[2:3] == [kind]]

    def instance(self) -> int:
        """Return the instance number, from the name of the file that the supervisor holds locked."""
        files = [Path(file.path) for file in psutil.Process(self.pid).open_files()]
        return next(int(file.stem, 16) for file in files if file.suffix == ".instance")

    def _running_status(self) -> Row:
        if self.process.poll() is not None:
            raise RuntimeError(f"the supervisor ended with exit code {self.process.returncode}")
        return self.current_status()

    def _control(self) -> httpx.Client:
        socket = self.runtime_directory / f"{self.instance():08x}.sock"
        transport = httpx.HTTPTransport(uds=str(socket), verify=False)  # loading certificates takes 30 ms
        return httpx.Client(transport=transport, trust_env=False)

    # Processes

    def children(self, *, recursive: bool = False) -> list[psutil.Process]:
        """Return the supervisor's children, with zombies."""
        return psutil.Process(self.pid).children(recursive=recursive)

    def living(self) -> list[psutil.Process]:
        """Return the supervisor and all its descendants, also orphaned ones, without zombies."""
        return [process for process in psutil.process_iter() if _mark_of(process) == self.mark]

    # End

    def exit_code(self, within_seconds: float = LIMIT_SECONDS) -> int:
        return self.process.wait(within_seconds)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        return self.exit_code()

    def drain(self, within_seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM, and SIGKILL after the limit. Return the exit code, also if the supervisor has already ended."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.send_signal(signal.SIGCONT)  # a stopped process does not handle SIGTERM
        try:
            return self.process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def drain_after(self, seconds: float) -> int:
        """Wait for the end. Drain a supervisor that is still running after this time."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return self.drain()

    def kill(self) -> int:
        self.process.kill()
        return self.process.wait()


def as_variables(settings: Mapping[str, object]) -> dict[str, str]:
    """Turn settings by field name into environment variables. A test's adapter has as much time as the product's own."""
    limits = {"ai_foreign_timeout_seconds": settings.get("ai_timeout_feedback", FEEDBACK_SECONDS)}
    return {name.upper(): str(value) for name, value in {**limits, **settings}.items()}


def _mark_of(process: psutil.Process) -> str | None:
    with suppress(psutil.Error, OSError):
        return process.environ().get(MARK)
    return None


def _details(line: str) -> dict[str, str]:
    at, level, _, *pairs = shlex.split(line)
    return {"at": at, "level": level, **{key: value for key, _, value in (pair.partition("=") for pair in pairs)}}
