"""A supervisor that is restarted after each end, as by systemd. It has a settings file and a permanent runtime directory."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from testkit.chaos.helper_processes import end_helpers
from testkit.chaos.run_record import SupervisorLife
from testkit.host_names import HostNames
from testkit.outages.http_proxy import HttpProxy
from testkit.pg_proxy import ProxyProcess
from testkit.supervisor_process import PROGRAM, SupervisorProcess, as_variables

RESTART_SECONDS: Final = 2.0  # RestartSec of the unit
STOP_SECONDS: Final = 60.0
COMMAND_SECONDS: Final = 20.0  # a command that has no answer by then is ended
MONITOR: Final = "monitor"
_SPAWNED: Final = re.compile(r" spawned slot=(\w+) pid=(\d+) ")


@dataclass(frozen=True, slots=True)
class Child:
    """A child of a supervisor. A process that got the pid later receives no signal."""

    pid: int
    parent_pid: int

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, or do nothing if the child has ended."""
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self.pid)
            try:
                if _parent_of(self.pid) == self.parent_pid:
                    signal.pidfd_send_signal(pidfd, number)
            finally:
                os.close(pidfd)


@dataclass(slots=True)
class Fleet:
    """`settings` are written to the settings file. The database is reached through the proxy only.

    `exit_codes` are those of all starts that have ended, `lives` their times. `worker_pids` are those of all starts.
    """

    home: Path
    proxy: ProxyProcess
    model_server: HttpProxy
    store: HttpProxy | None = None
    names: HostNames | None = None
    settings: dict[str, str] = field(default_factory=dict)
    running: SupervisorProcess | None = None
    exit_codes: list[int] = field(default_factory=list)
    lives: list[SupervisorLife] = field(default_factory=list)
    worker_pids: set[int] = field(default_factory=set)
    _began_at: float = 0.0
    _start_again_at: float = 0.0
    _roles: dict[int, str] = field(default_factory=dict)
    _log_offset: int = 0
    _commands: list[tuple[float, subprocess.Popen[bytes]]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The storage root of a fleet without an object store: a link to the directory of the files."""
        return self.home / "files"

    @property
    def log(self) -> Path:
        return self.home / "supervisor.log"

    @property
    def helpers(self) -> Path:
        """The directory of the adapter's orders, see testkit/adapters/helper_leaving.py."""
        return self.home / "helpers"

    @property
    def settings_file(self) -> Path:
        return self.home / "service.env"

    def write_settings(self, **changes: str) -> None:
        self.settings_file.write_text("".join(f"{name}={value}\n" for name, value in {**self.settings, **changes}.items()))

    def start(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.write_settings()
        arguments = ("start", "--env-file", self.settings_file)
        environ = {"HELPERS": str(self.helpers), **(as_variables(self.names.environ) if self.names else {})}
        self._began_at = time.time()
        self.running = SupervisorProcess.spawn(environ, self.home, arguments=arguments, death_signal=signal.SIGKILL)

    def tend(self) -> None:
        """Restart an ended supervisor after a pause, and read its log."""
        if self.running is None:
            if time.monotonic() >= self._start_again_at:
                self.start()
        elif (exit_code := self.running.process.poll()) is not None:
            self.exit_codes.append(exit_code)
            self.lives.append(self._life())
            self.running, self._start_again_at = None, time.monotonic() + RESTART_SECONDS
        self._read_log()
        self._end_commands()

    def command(self, *arguments: str) -> None:
        """Run a command of an administrator without waiting for its answer."""
        command: list[str | Path] = [PROGRAM, *arguments, "--env-file", self.settings_file]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=self.home, env={"PATH": os.environ.get("PATH", "")}, stdout=quiet, stderr=quiet)
        self._commands.append((time.monotonic() + COMMAND_SECONDS, process))

    def stop(self) -> int | None:
        """Drain the supervisor and return its exit code, None if it is not running."""
        self._end_commands(at_once=True)
        if self.running is not None:
            self.lives.append(self._life())
        return None if self.running is None else self.running.drain(STOP_SECONDS)

    def end_helpers(self) -> int:
        """Kill the processes that adapters have left, and return their number."""
        return end_helpers(self.helpers)

    def _life(self) -> SupervisorLife:
        return SupervisorLife(self.home.name, self._began_at, time.time())

    # Processes

    def supervisor(self) -> list[Child]:
        """Return the supervisor, or an empty list between two starts."""
        return [Child(self.running.pid, os.getpid())] if self.running is not None else []

    def monitors(self) -> list[Child]:
        return [child for child in self._children() if self._roles[child.pid] == MONITOR]

    def workers(self) -> list[Child]:
        return [child for child in self._children() if self._roles[child.pid] != MONITOR]

    def _children(self) -> list[Child]:
        """Return the children in the order of their start."""
        self._read_log()
        if self.running is None:
            return []
        parent_pid = self.running.pid
        self._roles = {pid: role for pid, role in self._roles.items() if _parent_of(pid) == parent_pid}
        return [Child(pid, parent_pid) for pid in self._roles]

    def _read_log(self) -> None:
        if not self.log.exists():
            return
        with self.log.open("rb") as log:
            log.seek(self._log_offset)
            whole, _, _ = log.read().rpartition(b"\n")
        self._log_offset += len(whole) + bool(whole)
        spawned = {int(pid): slot for slot, pid in _SPAWNED.findall(whole.decode(errors="replace") + "\n")}
        self._roles |= spawned
        self.worker_pids |= {pid for pid, role in spawned.items() if role != MONITOR}

    def _end_commands(self, *, at_once: bool = False) -> None:
        for deadline, process in self._commands:
            if at_once or time.monotonic() > deadline:
                process.kill()
        self._commands = [(deadline, process) for deadline, process in self._commands if process.poll() is None]


def _parent_of(pid: int) -> int | None:
    """Return the parent of a process, None for one that has ended, also if its supervisor is frozen and does not reap it."""
    with suppress(OSError):
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if state == "Z" else int(parent)
    return None
