"""Commits what a model made of pages: the text or assessment of each, and the whole text before the feedback step starts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from worker.core.doubt import PageGrade
from worker.core.outcome import Lease
from worker.queue.connection import Connection
from worker.queue.permits import HeldPermit
from worker.queue.statements import statement
from worker.queue.usage import NO_USAGE, UsageWrite, execute_with_usage, in_transaction

_CHECKPOINT, _CHECKPOINT_PAGE = statement("checkpoint"), statement("checkpoint_page")


@dataclass(frozen=True, slots=True)
class OcrResult:
    """Whole text of a submission. `fingerprint` is a hash of everything that the text was made from."""

    text_md: str
    raw_metadata: Mapping[str, Any]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class OcrPage:
    """Text or assessment of one page, counted from 1, with its grade of doubt. `fingerprint` is that of the whole document."""

    page: int
    text_md: str
    fingerprint: str
    grade: PageGrade | None = None


def pages_after(written: int, texts: Sequence[str], grades: Iterable[PageGrade], fingerprint: str) -> list[OcrPage]:
    """Return the pages of a document after the first `written` ones. `texts` begins with page 1. Any page may have no grade."""
    by_page = {grade.page: grade for grade in grades}
    return [OcrPage(page, texts[page - 1], fingerprint, by_page.get(page)) for page in range(written + 1, len(texts) + 1)]


def write_checkpoint(
    connection: Connection,
    lease: Lease,
    result: OcrResult,
    lease_seconds: float,
    held: HeldPermit | None = None,
    usage: UsageWrite = NO_USAGE,
) -> bool:
    """Write the text and give the permit back in one round trip. False if the lease was lost: then nothing was written."""
    values = {
        **_fence(lease, lease_seconds),
        "text_md": result.text_md,
        "raw_metadata": Jsonb(dict(result.raw_metadata)),
        "fingerprint": result.fingerprint,
    }
    return execute_with_usage(connection, lease, usage, _CHECKPOINT, values, held) == 1


def write_page(connection: Connection, lease: Lease, page: OcrPage, lease_seconds: float) -> bool:
    """Write one page, of which the one before must be written already. False if the lease was lost.

    Page 1 discards all pages written before.
    """
    return connection.execute(_CHECKPOINT_PAGE, _page_values(lease, page, lease_seconds)).rowcount == 1


def write_pages(
    connection: Connection, lease: Lease, pages: Sequence[OcrPage], lease_seconds: float, usage: UsageWrite = NO_USAGE
) -> bool:
    """Write several pages in one round trip and one transaction, each as `write_page` does."""

    def send() -> list[Cursor[DictRow]]:
        return [connection.execute(_CHECKPOINT_PAGE, _page_values(lease, page, lease_seconds)) for page in pages]

    if usage.is_due:
        return all(cursor.rowcount == 1 for cursor in in_transaction(connection, lease, usage, send))
    if len(pages) == 1:
        return write_page(connection, lease, pages[0], lease_seconds)
    with connection.pipeline():
        cursors = send()
    return all(cursor.rowcount == 1 for cursor in cursors)


def _page_values(lease: Lease, page: OcrPage, lease_seconds: float) -> dict[str, Any]:
    grade = Jsonb(page.grade.as_json()) if page.grade else None
    values = {"page": page.page, "text_md": page.text_md, "fingerprint": page.fingerprint, "grade": grade}
    return {**_fence(lease, lease_seconds), **values}


def _fence(lease: Lease, lease_seconds: float) -> dict[str, Any]:
    return {"job_id": lease.job_id, "lease_key": lease.lease_key, "lease_seconds": lease_seconds}
