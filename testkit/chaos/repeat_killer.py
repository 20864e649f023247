"""Kill the worker of one job and also the next worker that leases it, so that the job is quarantined."""

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

POLL_SECONDS: Final = 0.2
MAX_POLLS: Final = 50  # for the next worker, then the job is spared
HOLDERS: Final[LiteralString] = """
    select job.id, transition.application_name
    from learning_submission_jobs as job join job_transitions as transition
        on transition.job_id = job.id and transition.lease_key = job.lease_key
        and transition.old_lease_key is distinct from transition.lease_key
    where job.status = 'leased'
"""


@dataclass(frozen=True, slots=True)
class RepeatKiller:
    """The second kill is added to `injected`. Its time is not in the plan."""

    environment: ChaosEnvironment
    scheduler: Scheduler
    injected: list[InjectedFault]

    def begin(self, number: int) -> frozenset[int]:
        """Kill the worker of a leased job and schedule the next kill. Return its pid, empty without a leased job."""
        holders = self._holders()
        if not holders:
            return frozenset()
        job_id = sorted(holders)[number % len(holders)]
        pid = holders[job_id]
        self._kill(pid)
        self.scheduler.after(POLL_SECONDS, partial(self._poll, job_id, pid, MAX_POLLS))
        return frozenset({pid})

    def _poll(self, job_id: UUID, last_pid: int, polls: int) -> None:
        """Poll until another worker has the job."""
        at, pid = time.time(), self._holders().get(job_id, last_pid)
        if pid != last_pid:
            self._kill(pid)
            self.injected.append(InjectedFault(at, Kind.KILL_REPEATEDLY, frozenset({pid}), f"again, pid {pid}"))
        elif polls:
            self.scheduler.after(POLL_SECONDS, partial(self._poll, job_id, last_pid, polls - 1))

    def _kill(self, pid: int) -> None:
        for fleet in self.environment.fleets:
            for worker in fleet.workers():
                if worker.pid == pid:
                    worker.signal(signal.SIGKILL)

    def _holders(self) -> dict[UUID, int]:
        """Return the pid of each leased job's worker, by job. Empty while the database is down."""
        with suppress(psycopg.OperationalError), self.environment.connected() as owner:
            return {job_id: pid for job_id, name in owner.execute(HOLDERS) if (pid := pid_in(name)) is not None}
        return {}
