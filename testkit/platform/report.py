"""The table of a run, as text or as one JSON object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from testkit.platform.case import Ending
from testkit.platform.play import Played
from testkit.platform.verdict import failed_unknown, faults_in, is_left


@dataclass(frozen=True, slots=True)
class Row:
    """One case and its differences from the expectation, none for a right one."""

    name: str
    status: str
    error_code: str | None
    faults: tuple[str, ...]
    round_trips: int | None
    is_left: bool
    has_unknown_failure: bool


def row_of(played: Played) -> Row:
    status, code = played.submission["analysis_status"], played.submission["error_code"]
    faults = tuple(faults_in(played))
    return Row(played.case.name, status, code, faults, played.round_trips, is_left(played), failed_unknown(played))


def document(rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """Return the figures. `round_trips` are those of a worker's connection for one job that succeeds."""
    return {
        "cases": len(rows),
        "wrong": sum(bool(row.faults) for row in rows),
        "left_queued": sum(row.is_left for row in rows),
        "failed_unknown": sum(row.has_unknown_failure for row in rows),
        "seconds": round(seconds, 1),
        "round_trips": {
            row.name.removesuffix(f"/{Ending.SUCCESS}"): row.round_trips for row in rows if row.round_trips is not None
        },
        "rows": [{"name": row.name, "status": row.status, "error_code": row.error_code, "faults": row.faults} for row in rows],
    }


def line(row: Row) -> str:
    result = ", ".join(row.faults) if row.faults else "right"
    return f"{row.name:60} {row.status:10} {row.error_code or '':16} {result}"
