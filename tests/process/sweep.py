"""One kind of job again and again, with a worker behind a wire that strikes after a certain message."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from testkit.pg_proxy import PgProxy
from testkit.submissions import Submission, enter_all
from tests.monitor import Monitor
from tests.process.adapters.ledger import FEEDBACK, PAGES_OF_A_FILE, Ledger, page_line
from tests.process.bare_worker import BareWorker
from tests.process.school import School, is_idle
from worker.queue.connection import Connection

ADAPTER = "tests.process.adapters.ledger"
LONG_SECONDS = 60.0  # an idle worker looks when it is woken
MAX_CRASHES = 2
NOTHING_TO_DO: LiteralString = """
    select not exists (select from learning_submission_jobs where status <> 'failed' and visible_at <= now()) as it
"""

MIME_TYPES = {"text": None, "image": "image/png", "file": "application/pdf"}
PAGES_OF = {"text": (), "image": (page_line(1),), "file": tuple(page_line(n) for n in range(1, PAGES_OF_A_FILE + 1))}


@dataclass(frozen=True, slots=True)
class Kind:
    """What is handed in, the errors of the calls for feedback in their order, and the statements that end or keep something.

    `pauses`: how many of the errors end no submission.
    """

    name: str
    handed_in: tuple[str, ...]
    statements: tuple[str, ...]
    errors: str = ""
    pauses: int = 0
    failures: int = 0

    @property
    def pages(self) -> tuple[str, ...]:
        return tuple(page for each in self.handed_in for page in PAGES_OF[each])

    def calls(self) -> list[str]:
        """Of a run in which nothing happens. The documents come first."""
        return [*self.pages, *[FEEDBACK] * (len(self.handed_in) + self.pauses)]


KINDS = (
    Kind("text", ("text",), ("settle",)),
    Kind("two texts", ("text", "text"), ("settle", "read_leased")),
    Kind("picture", ("image",), ("checkpoint", "settle")),
    Kind("document", ("file",), ("checkpoint_page", "checkpoint", "settle")),
    Kind("retried", ("text",), ("retry",), "transient", pauses=1),
    Kind("released", ("text",), ("release",), "unavailable", pauses=1),
    Kind("failed", ("text",), ("fail",), "permanent", failures=1),
)


@dataclass(slots=True)
class Sweep:
    """One kind of job again and again, with a worker behind the wire. `entered` are the submissions of the round at hand."""

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
        """Asked by the wire, while the owner's connection is asked by the test."""
        with psycopg.connect(self.school.database.admin_dsn, autocommit=True, row_factory=dict_row) as connection:
            yield connection

    def enter(self) -> None:
        self.ledger_path.write_text("")
        self.entered = enter_all(self.platform, map(handed_in, self.kind.handed_in), storage_root=self.school.storage_root)

    def called(self) -> list[str]:
        return Ledger(self.ledger_path).lines()

    def is_resting(self, worker: BareWorker, *, is_lost_sight_of: bool = False) -> bool:
        """Idle, and nothing to do now. A worker that lost sight of its job in a cut is woken for it."""
        if self.school.one(NOTHING_TO_DO)["it"]:
            return is_idle(worker)
        if is_lost_sight_of and is_idle(worker):
            worker.wake()
        return False

    def is_over(self, worker: BareWorker, *, is_lost_sight_of: bool = False) -> bool:
        """Idle, and all is ended: what was put off is put off no more."""
        if self.is_resting(worker, is_lost_sight_of=is_lost_sight_of):
            if self.school.is_final(*self.entered):
                return True
            self.hasten()
            worker.wake()
        return False

    def hasten(self) -> None:
        self.school.owner.execute("update learning_submission_jobs set visible_at = now() where visible_at > now()")

    def ends(self) -> list[str]:
        """How each submission ended. Of each there is one result, were it the same one twice."""
        results = [self.school.results(each) for each in self.entered]
        assert [len(each) for each in results] == [1] * len(results), results
        return [status for (status,) in results]

    def committed(self) -> list[str]:
        """The calls whose results stand in the database; of feedback those that ended a submission."""
        return [call for each in self.entered for call in self._committed_of(each)]

    def _committed_of(self, submission_id: UUID) -> tuple[str, ...]:
        row = self.school.submission(submission_id)
        pages = PAGES_OF[row["kind"]]
        if row["analysis_status"] in {"completed", "failed"}:
            return (*pages, FEEDBACK)
        payload = self.school.job(submission_id)["payload"]
        return pages if "cached_text_md" in payload else pages[: len(payload.get("cached_pages", ()))]

    def missing(self, committed: list[str], called: list[str]) -> list[str]:
        """The calls that are still to be made: of pages those not committed, of feedback one for each end and for each pause."""
        pages = [page for page in self.kind.pages if page not in committed]
        ends = len(self.entered) - committed.count(FEEDBACK)
        pauses = max(0, self.kind.pauses - called.count(FEEDBACK)) if ends else 0
        return pages + [FEEDBACK] * (ends + pauses)


def handed_in(kind: Any) -> Submission:
    """Nobody looks into it: the adapters only count."""
    content = "typed" if kind == "text" else b"a file"
    return Submission(kind, kind, content, MIME_TYPES[kind], ("criterion",), "task", None, None)
