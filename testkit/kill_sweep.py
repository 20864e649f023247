"""Run one kind of job many times, with a proxy that injects a fault after a certain message."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from testkit.adapters.ledger import FEEDBACK, PAGES_OF_A_FILE, Ledger, page_line
from testkit.bare_worker import BareWorker
from testkit.monitor import Monitor
from testkit.pg_proxy import PgProxy
from testkit.platform.entry import AS_DIALOG, CONVERSATION
from testkit.school import School, is_idle
from testkit.submissions import Submission, enter_all
from worker.queue.connection import Connection

ADAPTER = "testkit.adapters.ledger"
LONG_SECONDS = 60.0  # an idle worker polls only after a wake-up
MAX_CRASHES = 2
MODES = frozenset({"dialog", "visual_direct"})
CHANGE_METADATA: LiteralString = "update learning_submissions set internal_metadata = internal_metadata || %s where id = %s"
NOTHING_TO_DO: LiteralString = """
    select not exists (select from learning_submission_jobs where status <> 'failed' and visible_at <= now()) as it
"""

MIME_TYPES = {"image": "image/png", "visual_direct": "image/png", "file": "application/pdf"}
PAGES_OF = {
    "text": (),
    "dialog": (),
    "visual_direct": (),
    "image": (page_line(1),),
    "file": tuple(page_line(n) for n in range(1, PAGES_OF_A_FILE + 1)),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """The submissions, the errors of the feedback calls in order, and the statements that settle or checkpoint.

    `pauses` counts the errors after which the job is tried again.
    """

    name: str
    submitted: tuple[str, ...]
    statements: tuple[str, ...]
    errors: str = ""
    pauses: int = 0
    failures: int = 0

    @property
    def pages(self) -> tuple[str, ...]:
        return tuple(page for each in self.submitted for page in PAGES_OF[each])

    def calls(self) -> list[str]:
        """Return the calls of a run without a fault. Vision calls come first."""
        return [*self.pages, *[FEEDBACK] * (len(self.submitted) + self.pauses)]


KINDS = (
    Kind("text", ("text",), ("settle",)),
    Kind("two texts", ("text", "text"), ("settle", "read_leased")),
    Kind("picture", ("image",), ("checkpoint", "settle")),
    Kind("document", ("file",), ("checkpoint_page", "checkpoint", "settle")),
    Kind("retried", ("text",), ("retry",), "invalid", pauses=1),
    Kind("held", ("text",), ("hold",), "unavailable", pauses=1),
    Kind("failed", ("text",), ("fail",), "permanent", failures=1),
)
KINDS_OF_2026 = (Kind("dialog", ("dialog",), ("settle",)), Kind("visual", ("visual_direct",), ("settle",)))


@dataclass(slots=True)
class Sweep:
    """Rounds of one kind of job, with a worker behind the proxy `wire`. `entered` are the submissions of this round."""

    school: School
    platform: psycopg.Connection[Any]
    monitor: Monitor
    wire: PgProxy
    ledger_path: Path
    kind: Kind
    pooled: str
    entered: tuple[UUID, ...] = field(default=())

    @contextmanager
    def worker(self, dsn: str) -> Iterator[BareWorker]:
        environ = {"LEDGER": str(self.ledger_path), "FEEDBACK_ERRORS": self.kind.errors}
        settings = {
            "learning_database_url": dsn,
            "database_pooled": self.pooled,
            "learning_vision_adapter": ADAPTER,
            "learning_feedback_adapter": ADAPTER,
            "worker_poll_interval": LONG_SECONDS,
            "worker_backoff_seconds": LONG_SECONDS,
            "worker_max_crashes": MAX_CRASHES,
        }
        with self.school.worker(environ, **settings) as worker:
            yield worker

    @contextmanager
    def taker(self) -> Iterator[Connection]:
        """Open a connection for the proxy's thread, because the test's thread uses the owner's."""
        with psycopg.connect(self.school.database.admin_dsn, autocommit=True, row_factory=dict_row) as connection:
            yield connection

    def enter(self) -> None:
        self.ledger_path.write_text("")
        self.entered = enter_all(self.platform, map(submitted, self.kind.submitted), storage_root=self.school.storage_root)
        for submission_id, each in zip(self.entered, self.kind.submitted, strict=True):
            if each in MODES:
                self._change_mode(submission_id, each)

    def _change_mode(self, submission_id: UUID, mode: str) -> None:
        """Add what the web application of 2026 writes for a submission of this mode. No worker looks for its job yet."""
        words = {"analysis_mode": mode, **(CONVERSATION if mode == "dialog" else {})}
        if mode == "dialog":
            self.platform.execute(AS_DIALOG, [submission_id])
        self.platform.execute(CHANGE_METADATA, [Jsonb({"analysis_mode": mode}), submission_id])
        self.school.change_job("payload = payload || %s", submission_id, Jsonb(words))

    def called(self) -> list[str]:
        return Ledger(self.ledger_path).lines()

    def is_resting(self, worker: BareWorker, *, is_cut_off: bool = False) -> bool:
        """Return True if the worker is idle and no job is due. A worker whose connection was cut is woken for its job."""
        if self.school.one(NOTHING_TO_DO)["it"]:
            return is_idle(worker)
        if is_cut_off and is_idle(worker):
            worker.wake()
        return False

    def is_over(self, worker: BareWorker, *, is_cut_off: bool = False) -> bool:
        """Return True if the worker is idle and all jobs have ended. Delayed jobs are made due."""
        if self.is_resting(worker, is_cut_off=is_cut_off):
            if self.school.is_final(*self.entered):
                return True
            self.hasten()
            worker.wake()
        return False

    def hasten(self) -> None:
        self.school.owner.execute("update learning_submission_jobs set visible_at = now() where visible_at > now()")

    def ends(self) -> list[str]:
        """Return the status of each submission, after a check that each has exactly one result."""
        results = [self.school.results(each) for each in self.entered]
        assert [len(each) for each in results] == [1] * len(results), results
        return [status for (status,) in results]

    def committed(self) -> list[str]:
        """Return the calls whose results are in the database."""
        return [call for each in self.entered for call in self._committed_of(each)]

    def _committed_of(self, submission_id: UUID) -> tuple[str, ...]:
        row = self.school.submission(submission_id)
        pages = PAGES_OF[row["internal_metadata"].get("analysis_mode", row["kind"])]
        if row["analysis_status"] in {"completed", "failed"}:
            return (*pages, FEEDBACK)
        payload = self.school.job(submission_id)["payload"]
        return pages if "cached_text_md" in payload else pages[: len(payload.get("cached_pages", ()))]

    def missing(self, committed: list[str], called: list[str]) -> list[str]:
        """Return the calls that remain: pages that are not committed, and a feedback call for each end and each pause."""
        pages = [page for page in self.kind.pages if page not in committed]
        ends = len(self.entered) - committed.count(FEEDBACK)
        pauses = max(0, self.kind.pauses - called.count(FEEDBACK)) if ends else 0
        return pages + [FEEDBACK] * (ends + pauses)


def submitted(kind: Any) -> Submission:
    """Make a submission. Its content is not read, because the adapters only count calls."""
    mime_type = MIME_TYPES.get(kind)
    row_kind: Any = {"dialog": "text", "visual_direct": "image"}.get(kind, kind)
    content = b"a file" if mime_type else "typed"
    return Submission(kind, row_kind, content, mime_type, ("criterion",), "task", None, None)
