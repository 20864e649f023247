"""Stop the server process of a worker's connection, with the permit that its session holds."""

import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, LiteralString

import psycopg

from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.fleet import Child
from testkit.chaos.plan import PERMITS
from testkit.chaos.run_record import pid_in
from testkit.chaos.scheduler import Scheduler

MOST: Final = PERMITS - 1  # stopped at a time, so that work stays possible
IDLE_BACKENDS: Final[LiteralString] = """
    select pid, application_name, exists (
        select from pg_locks where pg_locks.pid = activity.pid and locktype = 'advisory' and granted) as holds_permit
    from pg_stat_activity as activity
    where datname = current_database() and usename <> current_user and application_name like '% slot %'
        and wait_event = 'ClientRead'
    order by pid
"""


@dataclass(frozen=True, slots=True)
class StoppedBackends:
    """The stopped processes by pid.

    Each waits for its client. With an internal lock in its hands it would stop the whole server, and the run with it.
    """

    environment: ChaosEnvironment
    scheduler: Scheduler
    stopped: dict[int, Child] = field(default_factory=dict)

    def stop(self, number: int, seconds: float) -> tuple[frozenset[int], str] | None:
        """Stop one, if possible of a session with a permit. Return its worker's pid and details, None without one."""
        found = [each for each in self._idle() if each[0] not in self.stopped and _waits_for_its_client(each[0])]
        chosen = [each for each in found if each[2]] or found
        if not chosen or len(self.stopped) >= MOST:
            return None
        pid, name, holds_permit = chosen[number % len(chosen)]
        self._stop(Child(pid, self.environment.cluster.pid), seconds)
        worker_pid, permit = pid_in(name), "with" if holds_permit else "without"
        return frozenset({worker_pid} if worker_pid else ()), f"backend {pid}, {permit} a permit, {seconds:.1f} s"

    def continue_all(self) -> None:
        for pid in tuple(self.stopped):
            self._continue(pid)

    def _stop(self, backend: Child, seconds: float) -> None:
        """Stop a process and continue it later, also if the run itself waits for the server then."""
        backend.signal(signal.SIGSTOP)
        self.stopped[backend.pid] = backend
        self.scheduler.after(seconds, partial(self._continue, backend.pid))
        timer = threading.Timer(seconds, backend.signal, [signal.SIGCONT])
        timer.daemon = True
        timer.start()

    def _continue(self, pid: int) -> None:
        if backend := self.stopped.pop(pid, None):
            backend.signal(signal.SIGCONT)

    def _idle(self) -> list[tuple[int, str, bool]]:
        with suppress(psycopg.OperationalError), self.environment.connected() as owner:
            return owner.execute(IDLE_BACKENDS).fetchall()
        return []


def _waits_for_its_client(pid: int) -> bool:
    with suppress(OSError):
        return "poll" in Path(f"/proc/{pid}/wchan").read_text()
    return False
