"""Real worker processes without a supervisor.

They are forked as by the supervisor, from a process with one thread and all imports. This stand-in owns the scoreboards, which
only forked processes can share, and executes the requests of a test.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from supervisor.adapters import processes
from supervisor.settings.model import parse
from testkit.waiting import LIMIT_SECONDS
from worker import main as worker_main
from worker.ipc.contract import MAX_EVENT_BYTES, Activity, Event, Wiring
from worker.ipc.scoreboard import AdmissionRecord, ControlRecord, MonitorRecord, Scoreboard, WorkerRecord

PROJECT_ROOT = Path(__file__).resolve().parents[1]
SLOT, INSTANCE = 0, 1


@dataclass(slots=True)
class ChildLauncher:
    """The stand-in's resources for one worker, with a scoreboard of its own. `exit_status` is as in subprocess."""

    scoreboard: Scoreboard
    wake_fd: int
    events_fd: int
    lifeline_end_fd: int
    pid: int = 0
    exit_status: int | None = None

    def fds(self) -> set[int]:
        return {self.wake_fd, self.events_fd, self.lifeline_end_fd} - {-1}


@dataclass(slots=True)
class StandIn:
    """The stand-in for the supervisor. Each method is a request about one worker, identified by its pid."""

    line: Connection
    launchers: dict[int, ChildLauncher] = field(default_factory=dict)

    def spawn(self, values: Mapping[str, str], environ: Mapping[str, str], admission: AdmissionRecord | None) -> int:
        """Fork a worker and return its pid. `admission` None means that no monitor has written a record."""
        settings = parse(values).worker
        lifeline_fd, lifeline_end_fd = os.pipe2(os.O_CLOEXEC)
        events_fd, event_fd = event_pair()
        launcher = ChildLauncher(Scoreboard(), os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), events_fd, lifeline_end_fd)
        launcher.scoreboard.control.write(ControlRecord(leasing_slots=1))
        if admission:
            launcher.scoreboard.admission.write(admission)
        wiring = Wiring(SLOT, INSTANCE, len(self.launchers) + 1, launcher.scoreboard, launcher.wake_fd, event_fd, lifeline_fd)

        def run() -> int:
            os.environ.update(environ)
            return worker_main.run(wiring, settings)

        launcher.pid = processes.spawn(run, self._not_for(launcher))
        for fd in (lifeline_fd, event_fd):
            os.close(fd)
        self.launchers[launcher.pid] = launcher
        return launcher.pid

    def _not_for(self, launcher: ChildLauncher) -> set[int]:
        """Return the descriptors that a worker must not inherit: the stand-in's and those of other workers."""
        others = set[int]().union(*(other.fds() for other in self.launchers.values()))
        return others | launcher.fds() - {launcher.wake_fd} | {self.line.fileno()}

    def record(self, pid: int) -> WorkerRecord | None:
        return self.launchers[pid].scoreboard.worker(SLOT)

    def control(self, pid: int, record: ControlRecord) -> None:
        self.launchers[pid].scoreboard.control.write(record)

    def admit(self, pid: int, record: AdmissionRecord) -> None:
        self.launchers[pid].scoreboard.admission.write(record)

    def read_queue(self, pid: int, record: MonitorRecord) -> None:
        self.launchers[pid].scoreboard.monitor.write(record)

    def wake(self, pid: int) -> None:
        os.eventfd_write(self.launchers[pid].wake_fd, 1)

    def cut_lifeline(self, pid: int) -> None:
        launcher = self.launchers[pid]
        os.close(launcher.lifeline_end_fd)
        launcher.lifeline_end_fd = -1

    def events(self, pid: int) -> list[Event]:
        """Return the events since the last call."""
        found, events_fd = [], self.launchers[pid].events_fd
        while select.select([events_fd], [], [], 0)[0]:
            found.append(Event.decode(os.read(events_fd, MAX_EVENT_BYTES)))
        return found

    def signal(self, pid: int, number: int) -> None:
        """Send a signal, unless the worker has been reaped, because its pid may be reused."""
        if self.launchers[pid].exit_status is None:
            os.kill(pid, number)

    def exit_status(self, pid: int, timeout_seconds: float) -> int | None:
        """Return the exit code, or minus the signal, None if the worker is running."""
        launcher = self.launchers[pid]
        if launcher.exit_status is None:
            pidfd = os.pidfd_open(pid)
            if select.select([pidfd], [], [], timeout_seconds)[0]:
                launcher.exit_status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.close(pidfd)
        return launcher.exit_status

    def dismiss(self, pid: int) -> None:
        """Kill the worker if it is running, and free its resources."""
        self.signal(pid, signal.SIGKILL)
        self.exit_status(pid, LIMIT_SECONDS)
        for fd in self.launchers.pop(pid).fds():
            os.close(fd)


def event_pair() -> tuple[int, int]:
    """Return two ends of a datagram socket. The second one, for the worker, is non-blocking as in the supervisor."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    writing.setblocking(False)
    return reading.detach(), writing.detach()


class BareWorker:
    """One worker, as seen by the test. `events` are all events that were read so far."""

    def __init__(self, forker: "Forker", pid: int) -> None:
        self._forker, self.pid = forker, pid
        self.events: list[Event] = []

    def record(self) -> WorkerRecord:
        """Return the scoreboard record, or an empty one just after the fork."""
        record: WorkerRecord | None = self._forker.ask("record", self.pid)
        return record or WorkerRecord(activity=Activity.BOOT)

    def control(self, record: ControlRecord) -> None:
        self._forker.ask("control", self.pid, record)

    def admit(self, record: AdmissionRecord) -> None:
        """Write the monitor's admission record."""
        self._forker.ask("admit", self.pid, record)

    def read_queue(self, record: MonitorRecord) -> None:
        """Write the monitor's queue record."""
        self._forker.ask("read_queue", self.pid, record)

    def wake(self) -> None:
        self._forker.ask("wake", self.pid)

    def cut_lifeline(self) -> None:
        self._forker.ask("cut_lifeline", self.pid)

    def read_events(self) -> list[Event]:
        self.events += self._forker.ask("events", self.pid)
        return self.events

    def signal(self, number: int) -> None:
        self._forker.ask("signal", self.pid, number)

    def exit_status(self, timeout_seconds: float = LIMIT_SECONDS) -> int | None:
        status: int | None = self._forker.ask("exit_status", self.pid, timeout_seconds)
        return status


class Forker:
    """The stand-in, as seen by the test."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    @contextmanager
    def worker(
        self, values: Mapping[str, str], environ: Mapping[str, str], admission: AdmissionRecord | None = None
    ) -> Iterator[BareWorker]:
        """Run a worker for the length of the block. `values` are the settings' variables, `environ` is for other adapters.

        A worker that is still running at the end of the block is killed.
        """
        worker = BareWorker(self, self.ask("spawn", values, environ, admission))
        try:
            yield worker
        finally:
            self.ask("dismiss", worker.pid)

    def ask(self, question: str, *arguments: object) -> Any:
        self._line.send((question, arguments))
        assert self._line.poll(2 * LIMIT_SECONDS), f"the workers' stand-in does not answer: {question}"
        return self._line.recv()


@contextmanager
def start_forker() -> Iterator[Forker]:
    """Run the stand-in for the length of the block. The kernel kills its workers with it."""
    ours, theirs = Pipe()
    command = [sys.executable, "-m", __name__, str(theirs.fileno())]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, pass_fds=[theirs.fileno()]):
        theirs.close()
        with ours:
            yield Forker(ours)


def main() -> None:
    """Run the stand-in until the test closes its end of the pipe."""
    worker_main.preload()
    line = Connection(int(sys.argv[1]))
    stand_in = StandIn(line)
    while True:
        try:
            question, arguments = line.recv()
        except EOFError:
            return
        line.send(getattr(stand_in, question)(*arguments))


if __name__ == "__main__":
    main()
