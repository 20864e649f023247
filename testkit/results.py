"""Results of submissions, read from the database and its audit tables."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

RESULTS: Final = """
    select submission.id as submission_id, submission.kind, submission.analysis_status as status, submission.error_code,
        submission.feedback_md, submission.analysis_json,
        (select count(*)::int from audit_results as result
            where result.submission_id = submission.id and result.new_status in ('completed', 'failed')) as times_written,
        coalesce((select array_agg(lease.application_name order by lease.number) from audit_leases as lease
            where lease.submission_id = submission.id), '{}') as leased_by,
        (select extract(epoch from max(result.at) - submission.created_at)::float8 from audit_results as result
            where result.submission_id = submission.id) as seconds
    from learning_submissions as submission
    where submission.id = any(%(ids)s)
"""
_PID = re.compile(r"pid (\d+)")


@dataclass(frozen=True, slots=True)
class SubmissionResult:
    """`times_written` counts all writes of a result. `leased_by` names all workers that leased the job, in order."""

    submission_id: UUID
    kind: str
    status: str
    error_code: str | None
    feedback_md: str | None
    analysis_json: dict[str, Any] | None
    times_written: int
    leased_by: list[str]
    seconds: float | None

    @property
    def is_final(self) -> bool:
        return self.status in {"completed", "failed"}

    @property
    def worker_pids(self) -> list[int]:
        return [int(found[1]) for name in self.leased_by if (found := _PID.search(name))]


def read_results(connection: psycopg.Connection[Any], ids: Sequence[UUID]) -> list[SubmissionResult]:
    """Read the results in the order of `ids`."""
    with connection.cursor(row_factory=class_row(SubmissionResult)) as cursor:
        found = {result.submission_id: result for result in cursor.execute(RESULTS, {"ids": list(ids)})}
    return [found[submission_id] for submission_id in ids]


def summary(results: Sequence[SubmissionResult], *, killed_and_replaced: int) -> str:
    """Return the last line of the demo."""
    failed = Counter(result.error_code for result in results if result.status == "failed")
    codes = f" ({', '.join(sorted(str(code) for code in failed))})" if failed else ""
    completed = sum(result.status == "completed" for result in results)
    lost = sum(not result.is_final for result in results)
    twice = sum(result.times_written > 1 for result in results)
    workers = "worker" if killed_and_replaced == 1 else "workers"
    return (
        f"{len(results)} submissions: {completed} completed, {failed.total()} failed{codes}, {lost} lost, "
        f"{twice} written twice, {killed_and_replaced} {workers} killed and replaced"
    )
