"""Let the database refuse writes to single submissions."""

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, LiteralString
from uuid import UUID

import psycopg

from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.run_record import Refusal
from testkit.chaos.scheduler import Scheduler
from testkit.refusals import accept, refuse

WRITES: Final = ("lease", "complete", "every")
SQLSTATES: Final = ("23514", "P0001", "54000", "XX001")
RETRY_SECONDS: Final = 0.5
OPEN: Final[LiteralString] = """
    select submission_id from learning_submission_jobs
    where status in ('queued', 'leased') and submission_id not in (select submission_id from refusals)
    order by submission_id
"""


@dataclass(slots=True)
class RefusedRows:
    """All refusals of the run, by submission."""

    environment: ChaosEnvironment
    scheduler: Scheduler
    refusals: dict[UUID, Refusal] = field(default_factory=dict)

    def refuse(self, number: int, seconds: float) -> str | None:
        """Refuse writes to one open submission, for some seconds or for good. Return the details, None without one."""
        write, code = WRITES[number % len(WRITES)], SQLSTATES[number // len(WRITES) % len(SQLSTATES)]
        with suppress(psycopg.OperationalError), self.environment.connected() as owner:
            found = [row[0] for row in owner.execute(OPEN) if row[0] not in self.refusals]
            if found:
                submission_id, stays = found[number % len(found)], number % 2 == 0
                refuse(owner, submission_id, code, write)
                self.refusals[submission_id] = Refusal(submission_id, code, time.time(), None)
                if not stays:
                    self.scheduler.after(seconds, partial(self._accept, submission_id))
                return f"{code} at {write} {'for good' if stays else f'for {seconds:.1f} s'}"
        return None

    def _accept(self, submission_id: UUID) -> None:
        try:
            with self.environment.connected() as owner:
                accept(owner, submission_id)
        except psycopg.OperationalError:
            return self.scheduler.after(RETRY_SECONDS, partial(self._accept, submission_id))
        self.refusals[submission_id] = replace(self.refusals[submission_id], until=time.time())
        return None
