"""What became of the submissions, read from the database and its audit tables and from nowhere else."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

FATES: Final = """
    select submission.id as submission_id, submission.kind, submission.analysis_status as status, submission.error_code,
        submission.feedback_md, submission.analysis_json,
        (select count(*)::int from audit_results as result
            where result.submission_id = submission.id and result.new_status in ('completed', 'failed')) as results,
        coalesce((select array_agg(lease.application_name order by lease.number) from audit_leases as lease
            where lease.submission_id = submission.id), '{}') as leased_by,
        (select extract(epoch from max(result.at) - submission.created_at)::float8 from audit_results as result
            where result.submission_id = submission.id) as seconds
    from learning_submissions as submission
    where submission.id = any(%(ids)s)
"""
_PID = re.compile(r"pid (\d+)")


@dataclass(frozen=True, slots=True)
class Fate:
    """One submission at the end: `results` counts every write of a result, `leased_by` every worker that took the job."""

    submission_id: UUID
    kind: str
    status: str
    error_code: str | None
    feedback_md: str | None
    analysis_json: dict[str, Any] | None
    results: int
    leased_by: list[str]
    seconds: float | None

    @property
    def is_final(self) -> bool:
        return self.status in {"completed", "failed"}

    @property
    def outcome(self) -> str:
        return f"{self.status} ({self.error_code})" if self.status == "failed" else self.status

    @property
    def worker_pids(self) -> list[int]:
        """In the order in which they took the job."""
        return [int(found[1]) for name in self.leased_by if (found := _PID.search(name))]


def fates(connection: psycopg.Connection[Any], ids: tuple[UUID, ...]) -> list[Fate]:
    """In the order of `ids`."""
    with connection.cursor(row_factory=class_row(Fate)) as cursor:
        found = {fate.submission_id: fate for fate in cursor.execute(FATES, {"ids": list(ids)})}
    return [found[submission_id] for submission_id in ids]


def summary(all_fates: list[Fate], *, killed_and_replaced: int) -> str:
    """The last line of the demo."""
    failed = Counter(fate.error_code for fate in all_fates if fate.status == "failed")
    codes = f" ({', '.join(sorted(str(code) for code in failed))})" if failed else ""
    completed = sum(fate.status == "completed" for fate in all_fates)
    lost = sum(not fate.is_final for fate in all_fates)
    twice = sum(fate.results > 1 for fate in all_fates)
    workers = "worker" if killed_and_replaced == 1 else "workers"
    return (
        f"{len(all_fates)} submissions: {completed} completed, {failed.total()} failed{codes}, {lost} lost, "
        f"{twice} written twice, {killed_and_replaced} {workers} killed and replaced"
    )
