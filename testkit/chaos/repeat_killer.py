"""Goes after one job: whoever has it is killed, and whoever gets it next. That is what a job is quarantined for."""

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, LiteralString
from uuid import UUID

import psycopg

from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.plan import Kind
from testkit.chaos.run_record import InjectedFault, pid_in
from testkit.chaos.scheduler import Scheduler

LOOK_SECONDS: Final = 0.2
LOOKS: Final = 50  # for the next one; then the job goes free
HOLDERS: Final[LiteralString] = """
    select job.id, transition.application_name
    from learning_submission_jobs as job join job_transitions as transition
        on transition.job_id = job.id and transition.lease_key = job.lease_key and transition.old_lease_key is distinct from transition.lease_key
    where job.status = 'leased'
"""


@dataclass(frozen=True, slots=True)
class RepeatKiller:
    """`injected` takes the second kill, which nobody has planned a time for."""

    environment: ChaosEnvironment
    scheduler: Scheduler
    injected: list[InjectedFault]

    def begin(self, number: int) -> frozenset[int]:
        """Kills the holder of one of the jobs in work, and will kill the next one; the pid, none where no job is in work."""
        holders = self._holders()
        if not holders:
            return frozenset()
        job_id = sorted(holders)[number % len(holders)]
        pid = holders[job_id]
        self._kill(pid)
        self.scheduler.after(LOOK_SECONDS, partial(self._go_on, job_id, pid, LOOKS))
        return frozenset({pid})

    def _go_on(self, job_id: UUID, last_pid: int, looks: int) -> None:
        """Until another worker has it."""
        at, pid = time.time(), self._holders().get(job_id, last_pid)
        if pid != last_pid:
            self._kill(pid)
            self.injected.append(InjectedFault(at, Kind.HUNT_JOB, frozenset({pid}), f"again, pid {pid}"))
        elif looks:
            self.scheduler.after(LOOK_SECONDS, partial(self._go_on, job_id, last_pid, looks - 1))

    def _kill(self, pid: int) -> None:
        for fleet in self.environment.fleets:
            for worker in fleet.workers():
                if worker.pid == pid:
                    worker.signal(signal.SIGKILL)

    def _holders(self) -> dict[UUID, int]:
        """The pid of the worker that holds it, by job; none while the database is away."""
        with suppress(psycopg.OperationalError), self.environment.connected() as owner:
            return {job_id: pid for job_id, name in owner.execute(HOLDERS) if (pid := pid_in(name)) is not None}
        return {}
