"""Jobs whose rows the database refuses to change, as reported by workers, by the reclaimer and by the queue itself."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

MAX_ROWS = 1000
FORGET_AFTER_SECONDS = 900.0  # above the longest wait between two tries of a row


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """`since_seconds` is the time of the first report, `seen_at_seconds` that of the last (monotonic)."""

    sqlstate: str
    since_seconds: float
    seen_at_seconds: float


class RefusedRows:
    """Rows by job id, oldest first. A row is removed when its job has ended, or when it was not reported again."""

    def __init__(self) -> None:
        self._rows: dict[UUID, RefusedRow] = {}

    @property
    def rows(self) -> Mapping[UUID, RefusedRow]:
        return self._rows

    def add(self, job_id: UUID, sqlstate: str, now_seconds: float) -> None:
        before = self._rows.get(job_id)
        if before is not None or len(self._rows) < MAX_ROWS:
            self._rows[job_id] = RefusedRow(sqlstate, before.since_seconds if before else now_seconds, now_seconds)

    def forget(self, job_id: UUID) -> None:
        self._rows.pop(job_id, None)

    def keep(self, open_job_ids: Collection[UUID], now_seconds: float) -> None:
        """Remove every other row, and those without a recent report."""
        oldest_seconds = now_seconds - FORGET_AFTER_SECONDS
        self._rows = {
            job_id: row for job_id, row in self._rows.items() if job_id in open_job_ids and row.seen_at_seconds >= oldest_seconds
        }


def in_short(values: Iterable[str]) -> str:
    """Join the different values, each once."""
    return ", ".join(sorted(set(values)))
