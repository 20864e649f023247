"""The submissions of a lane, and the state of their jobs, read without a lock on the tables of the queue."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, class_row

from testkit.chaos.environment import JOB_TRANSITIONS
from testkit.chaos.plan import PlannedSubmission, Work
from testkit.chaos.submissions import enter
from testkit.database import Database

ENTRY_DELAY: Final = Path(__file__).with_name("entry_delay.sql")
DONE: Final[LiteralString] = """
    select submission_id, extract(epoch from at)::float8 as at from audit_results
    where submission_id = any(%s) and new_status in ('completed', 'failed') order by at
"""
JOBS: Final[LiteralString] = """
    select submission_id, max(retry_count) as retries, max(crashes) as crashes, max(expiries) as expiries,
        bool_or(has_text) as has_text, max(error_code) as error_code
    from job_transitions where submission_id = any(%s) group by submission_id
"""
COMMITTED: Final[LiteralString] = """
    select extract(epoch from min(at))::float8 as at
    from (
        select at, has_text and not lag(has_text) over one as is_text, status is null or status = 'failed' as is_result
        from job_transitions where submission_id = any(%s)
        window one as (partition by submission_id order by number)
    ) as transitions
    where (is_text or is_result) and at > to_timestamp(%s)
"""
RELEASE: Final[LiteralString] = """
    with released as (
        update learning_submission_jobs set visible_at = clock_timestamp()
        where status = 'queued' and visible_at > now() + interval '1000 seconds' returning submission_id
    )
    select pg_notify('learning_submissions', submission_id::text) from released
"""
HELD_SECONDS: Final = 3600
CLEAR: Final[LiteralString] = """
    truncate learning_submissions, learning_submission_jobs, job_transitions, audit_results, audit_leases, audit_finishes
    cascade
"""


@dataclass(frozen=True, slots=True)
class JobHistory:
    """The most that was counted for a job at any time. `has_text`: its text was committed before the feedback."""

    submission_id: UUID
    retries: int
    crashes: int
    expiries: int
    has_text: bool
    error_code: str | None


@dataclass(slots=True)
class Schoolbook:
    """`works` has the kind of each submission of the present case, in the order of their entry."""

    database: Database
    owner: psycopg.Connection[DictRow]
    storage_root: Path
    seed: int
    works: dict[UUID, Work] = field(default_factory=dict)
    _number: int = 0

    def prepare(self) -> None:
        self.owner.execute(JOB_TRANSITIONS.read_bytes())
        self.owner.execute(ENTRY_DELAY.read_bytes())

    def begin_case(self) -> None:
        """Forget all submissions of earlier cases."""
        self.owner.execute(CLEAR)
        self.works.clear()

    def enter(self, *works: Work, is_held: bool = False) -> None:
        """Enter submissions like the platform. Jobs that are held become visible by `release`."""
        self.owner.execute("update entry_delay set seconds = %s", [HELD_SECONDS if is_held else 0])
        with psycopg.connect(self.database.admin_dsn, autocommit=True) as platform:
            for work in works:
                self._number += 1
                planned = PlannedSubmission(0.0, self._number, work)
                self.works[enter(platform, planned, self.seed, self.storage_root)] = work

    def release(self) -> None:
        """Make the held jobs visible and notify, as the platform does for a new one."""
        self.owner.execute(RELEASE)

    @property
    def ids(self) -> list[UUID]:
        return list(self.works)

    def done_at(self) -> dict[UUID, float]:
        """Return the Unix time of the first result of each submission that has one, in order."""
        done: dict[UUID, float] = {}
        for row in self.owner.execute(DONE, [self.ids]):
            done.setdefault(row["submission_id"], row["at"])
        return done

    def open_ids(self) -> Sequence[UUID]:
        done = self.done_at()
        return [each for each in self.works if each not in done]

    def histories(self) -> list[JobHistory]:
        return self.owner.cursor(row_factory=class_row(JobHistory)).execute(JOBS, [self.ids]).fetchall()

    def failed_ids(self) -> list[UUID]:
        query: LiteralString = "select id from learning_submissions where id = any(%s) and analysis_status = 'failed'"
        return [row["id"] for row in self.owner.execute(query, [self.ids])]

    def first_commit_after(self, at: float, open_ids: Sequence[UUID]) -> float | None:
        """Return the Unix time of the first text or result of these submissions that was committed after a time."""
        row = self.owner.execute(COMMITTED, [list(open_ids), at]).fetchone()
        return row["at"] if row else None
