"""One supervisor as systemd keeps it: with a settings file, a runtime directory that stays, and a new start after each end."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from testkit.chaos.gateway import GatewayProcess
from testkit.parent_death import die_with

RESTART_SECONDS: Final = 2.0  # RestartSec of the unit
STOP_SECONDS: Final = 60.0
ORDER_SECONDS: Final = 20.0  # by then the command of an operator has its answer
MONITOR: Final = "monitor"
PROGRAM: Final = Path(sys.executable).with_name("learning-supervisor")
_SPAWNED: Final = re.compile(r" spawned slot=(\w+) pid=(\d+) ")


@dataclass(frozen=True, slots=True)
class Child:
    """A process of a supervisor, as long as it is that supervisor's: a number that was given anew gets no signal."""

    pid: int
    parent_pid: int

    def signal(self, number: signal.Signals) -> None:
        """Nothing where it is gone."""
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self.pid)
            try:
                if _parent_of(self.pid) == self.parent_pid:
                    signal.pidfd_send_signal(pidfd, number)
            finally:
                os.close(pidfd)


@dataclass(slots=True)
class Fleet:
    """`settings` stand in its settings file, a variable each; the database is reached through the gateway alone.

    `exit_codes` are those of the starts that have ended.
    """

    home: Path
    gateway: GatewayProcess
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    exit_codes: list[int] = field(default_factory=list)
    _start_again_at: float = 0.0
    _roles: dict[int, str] = field(default_factory=dict)
    _log_offset: int = 0
    _orders: list[tuple[float, subprocess.Popen[bytes]]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.home / "supervisor.log"

    @property
    def settings_file(self) -> Path:
        return self.home / "service.env"

    def write_settings(self, **changes: str) -> None:
        self.settings_file.write_text("".join(f"{name}={value}\n" for name, value in {**self.settings, **changes}.items()))

    def start(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.write_settings()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "start", "--env-file", self.settings_file],
                cwd=self.home,
                env={"PATH": os.environ.get("PATH", "")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                process_group=0,
                preexec_fn=die_with(os.getpid(), signal.SIGKILL),  # noqa: PLW1509  nothing outlives us, were it frozen
            )

    def tend(self) -> None:
        """What systemd does: notices an end, and starts again after a while. Also takes in what the log says of children."""
        if self.process is None:
            if time.monotonic() >= self._start_again_at:
                self.start()
        elif (exit_code := self.process.poll()) is not None:
            self.exit_codes.append(exit_code)
            self.process, self._start_again_at = None, time.monotonic() + RESTART_SECONDS
        self._read_log()
        self._end_orders()

    def order(self, *arguments: str) -> None:
        """The command of an operator, whose answer nobody waits for."""
        command: list[str | Path] = [PROGRAM, *arguments, "--env-file", self.settings_file]
        quiet = subprocess.DEVNULL
        order = subprocess.Popen(command, cwd=self.home, env={"PATH": os.environ.get("PATH", "")}, stdout=quiet, stderr=quiet)
        self._orders.append((time.monotonic() + ORDER_SECONDS, order))

    def stop(self) -> int | None:
        """SIGTERM, then whatever it takes; the exit code, None where it was not running. A second time it does nothing."""
        self._end_orders(at_once=True)
        if self.process is None:
            return None
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)  # it may be frozen
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    # Who may be hit

    def supervisor(self) -> list[Child]:
        """One, or none while it is away."""
        return [Child(self.process.pid, os.getpid())] if self.process is not None else []

    def monitors(self) -> list[Child]:
        return [child for child in self._children() if self._roles[child.pid] == MONITOR]

    def workers(self) -> list[Child]:
        return [child for child in self._children() if self._roles[child.pid] != MONITOR]

    def _children(self) -> list[Child]:
        """In the order of their start."""
        self._read_log()
        if self.process is None:
            return []
        self._roles = {pid: role for pid, role in self._roles.items() if _parent_of(pid) == self.process.pid}
        return [Child(pid, self.process.pid) for pid in self._roles]

    def _read_log(self) -> None:
        if not self.log.exists():
            return
        with self.log.open("rb") as log:
            log.seek(self._log_offset)
            whole, _, _ = log.read().rpartition(b"\n")
        self._log_offset += len(whole) + bool(whole)
        self._roles |= {int(pid): slot for slot, pid in _SPAWNED.findall(whole.decode(errors="replace") + "\n")}

    def _end_orders(self, *, at_once: bool = False) -> None:
        for until, order in self._orders:
            if at_once or time.monotonic() > until:
                order.kill()
        self._orders = [(until, order) for until, order in self._orders if order.poll() is None]


def _parent_of(pid: int) -> int | None:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return None
