"""Goes after one job: whoever has it is killed, and whoever gets it next. That is what a job is quarantined for."""

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, LiteralString
from uuid import UUID

import psycopg

from testkit.chaos.agenda import Agenda
from testkit.chaos.evidence import Hit, pid_in
from testkit.chaos.plan import Kind
from testkit.chaos.stage import ChaosEnvironment

LOOK_SECONDS: Final = 0.2
LOOKS: Final = 50  # for the next one; then the job goes free
HOLDERS: Final[LiteralString] = """
    select job.id, move.application_name
    from learning_submission_jobs as job join witnessed_moves as move
        on move.job_id = job.id and move.lease_key = job.lease_key and move.old_lease_key is distinct from move.lease_key
    where job.status = 'leased'
"""


@dataclass(frozen=True, slots=True)
class Hunt:
    """`hits` takes the second kill, which nobody has planned a time for."""

    stage: ChaosEnvironment
    agenda: Agenda
    hits: list[Hit]

    def begin(self, number: int) -> frozenset[int]:
        """Kills the holder of one of the jobs in work, and will kill the next one; the pid, none where no job is in work."""
        holders = self._holders()
        if not holders:
            return frozenset()
        job_id = sorted(holders)[number % len(holders)]
        pid = holders[job_id]
        self._kill(pid)
        self.agenda.after(LOOK_SECONDS, partial(self._go_on, job_id, pid, LOOKS))
        return frozenset({pid})

    def _go_on(self, job_id: UUID, last_pid: int, looks: int) -> None:
        """Until another worker has it."""
        at, pid = time.time(), self._holders().get(job_id, last_pid)
        if pid != last_pid:
            self._kill(pid)
            self.hits.append(Hit(at, Kind.HUNT_JOB, frozenset({pid}), f"again, pid {pid}"))
        elif looks:
            self.agenda.after(LOOK_SECONDS, partial(self._go_on, job_id, last_pid, looks - 1))

    def _kill(self, pid: int) -> None:
        for fleet in self.stage.fleets:
            for worker in fleet.workers():
                if worker.pid == pid:
                    worker.signal(signal.SIGKILL)

    def _holders(self) -> dict[UUID, int]:
        """The pid of the worker that holds it, by job; none while the database is away."""
        with suppress(psycopg.OperationalError), self.stage.connected() as owner:
            return {job_id: pid for job_id, name in owner.execute(HOLDERS) if (pid := pid_in(name)) is not None}
        return {}
