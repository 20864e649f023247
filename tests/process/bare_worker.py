"""Real worker processes without a supervisor.

They are forked as the supervisor forks: from a process of one thread that has imported everything. That process stands in
for the supervisor: it keeps the scoreboards, which only a fork can share, and answers a test's questions about them.
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

PROJECT_ROOT = Path(__file__).resolve().parents[2]
SLOT, INSTANCE = 0, 1


@dataclass(slots=True)
class ChildLauncher:
    """What the stand-in keeps for one worker, each with a scoreboard of its own. `exit_status` as in subprocess."""

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
    """The supervisor's side: what it gives a worker, what it sees of it, and what it may do to it. Questions name the pid."""

    line: Connection
    households: dict[int, ChildLauncher] = field(default_factory=dict)

    def spawn(self, values: Mapping[str, str], environ: Mapping[str, str], admission: AdmissionRecord | None) -> int:
        """The new worker's pid. Without an admission it is as if no monitor had ever written one."""
        settings = parse(values).worker
        lifeline_fd, lifeline_end_fd = os.pipe2(os.O_CLOEXEC)
        events_fd, event_fd = event_pair()
        launcher = ChildLauncher(Scoreboard(), os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), events_fd, lifeline_end_fd)
        launcher.scoreboard.write_control(ControlRecord(leasing_slots=1))
        if admission:
            launcher.scoreboard.write_admission(admission)
        wiring = Wiring(SLOT, INSTANCE, len(self.households) + 1, launcher.scoreboard, launcher.wake_fd, event_fd, lifeline_fd)

        def run() -> int:
            os.environ.update(environ)
            return worker_main.run(wiring, settings)

        launcher.pid = processes.spawn(run, self._not_for(launcher))
        for fd in (lifeline_fd, event_fd):
            os.close(fd)
        self.households[launcher.pid] = launcher
        return launcher.pid

    def _not_for(self, launcher: ChildLauncher) -> set[int]:
        """What a worker must not inherit: its own ends that are ours, and all that is another's."""
        others = set[int]().union(*(other.fds() for other in self.households.values()))
        return others | launcher.fds() - {launcher.wake_fd} | {self.line.fileno()}

    def record(self, pid: int) -> WorkerRecord | None:
        return self.households[pid].scoreboard.worker(SLOT)

    def control(self, pid: int, record: ControlRecord) -> None:
        self.households[pid].scoreboard.write_control(record)

    def admit(self, pid: int, record: AdmissionRecord) -> None:
        self.households[pid].scoreboard.write_admission(record)

    def read_queue(self, pid: int, record: MonitorRecord) -> None:
        self.households[pid].scoreboard.write_monitor_record(record)

    def wake(self, pid: int) -> None:
        os.eventfd_write(self.households[pid].wake_fd, 1)

    def cut_lifeline(self, pid: int) -> None:
        launcher = self.households[pid]
        os.close(launcher.lifeline_end_fd)
        launcher.lifeline_end_fd = -1

    def events(self, pid: int) -> list[Event]:
        """Those that came since the last question."""
        found, events_fd = [], self.households[pid].events_fd
        while select.select([events_fd], [], [], 0)[0]:
            found.append(Event.decode(os.read(events_fd, MAX_EVENT_BYTES)))
        return found

    def signal(self, pid: int, number: int) -> None:
        """Nothing where the worker has been reaped: its pid may be another's by now."""
        if self.households[pid].exit_status is None:
            os.kill(pid, number)

    def exit_status(self, pid: int, timeout_seconds: float) -> int | None:
        """The exit code, or minus the signal; None if the worker lives on."""
        launcher = self.households[pid]
        if launcher.exit_status is None:
            pidfd = os.pidfd_open(pid)
            if select.select([pidfd], [], [], timeout_seconds)[0]:
                launcher.exit_status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.close(pidfd)
        return launcher.exit_status

    def dismiss(self, pid: int) -> None:
        """Ends the worker if it has not ended before, and forgets it."""
        self.signal(pid, signal.SIGKILL)
        self.exit_status(pid, LIMIT_SECONDS)
        for fd in self.households.pop(pid).fds():
            os.close(fd)


def event_pair() -> tuple[int, int]:
    """Two ends of a datagram socket, the second for the worker: it never blocks, as in the supervisor."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    writing.setblocking(False)
    return reading.detach(), writing.detach()


class BareWorker:
    """The test's side of one worker. `events` are all that have been looked at so far."""

    def __init__(self, forker: "Forker", pid: int) -> None:
        self._forker, self.pid = forker, pid
        self.events: list[Event] = []

    def record(self) -> WorkerRecord:
        """What stands on the scoreboard; nothing does for a moment after the fork."""
        record: WorkerRecord | None = self._forker.ask("record", self.pid)
        return record or WorkerRecord(activity=Activity.BOOT)

    def control(self, record: ControlRecord) -> None:
        self._forker.ask("control", self.pid, record)

    def admit(self, record: AdmissionRecord) -> None:
        """As the monitor would."""
        self._forker.ask("admit", self.pid, record)

    def read_queue(self, record: MonitorRecord) -> None:
        """As the monitor would: somebody looks at the queue."""
        self._forker.ask("read_queue", self.pid, record)

    def wake(self) -> None:
        self._forker.ask("wake", self.pid)

    def cut_lifeline(self) -> None:
        self._forker.ask("cut_lifeline", self.pid)

    def look_at_events(self) -> list[Event]:
        self.events += self._forker.ask("events", self.pid)
        return self.events

    def signal(self, number: int) -> None:
        self._forker.ask("signal", self.pid, number)

    def exit_status(self, timeout_seconds: float = LIMIT_SECONDS) -> int | None:
        status: int | None = self._forker.ask("exit_status", self.pid, timeout_seconds)
        return status


class Forker:
    """The test's side of the stand-in."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    @contextmanager
    def worker(
        self, values: Mapping[str, str], environ: Mapping[str, str], admission: AdmissionRecord | None = None
    ) -> Iterator[BareWorker]:
        """`values` are the settings' variables, `environ` what adapters of other packages read for themselves.

        The worker is killed at the end of the block if it has not ended before.
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
    """The stand-in ends with the block, and the kernel kills with it what it has forked."""
    ours, theirs = Pipe()
    command = [sys.executable, "-m", __name__, str(theirs.fileno())]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, pass_fds=[theirs.fileno()]):
        theirs.close()
        with ours:
            yield Forker(ours)


def main() -> None:
    """The stand-in's process: answers until nobody asks any more."""
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
