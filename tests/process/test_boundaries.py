"""A worker's connection is cut, or the worker killed, after the k-th message of PostgreSQL's protocol, for every k of a job.

Whatever the k: nothing is lost, nothing is written twice, and no model is asked for what was committed before.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from demo.submissions import Submission, enter_all
from tests.monitor import Monitor, open_monitor
from tests.process.adapters.ledger import FEEDBACK, PAGES_OF_A_FILE, Ledger, page_line
from tests.process.bare_worker import PATIENCE_SECONDS, BareWorker
from tests.process.school import School, counted, is_idle
from tests.process.wire import Wire, wire_before
from worker.contract import Counter
from worker.job_queue.dead_lease import Returned
from worker.job_queue.statements import statement
from worker.scoreboard import ControlRecord

pytestmark = pytest.mark.postgres

LOOK_SECONDS = 0.002  # hundreds of rounds of some milliseconds each
MAX_MESSAGES = 1000  # far more than any of these jobs takes
FEWEST_MESSAGES = 7  # of a statement that is parsed, bound, executed and answered
ADAPTER = "tests.process.adapters.ledger"
LONG_SECONDS = 60.0  # an idle worker looks when it is woken
MAX_CRASHES = 2
JOBS: LiteralString = """
    select status, coalesce((payload ->> 'crashes')::int, 0) as crashes
      from learning_submission_jobs where submission_id = any(%s)
"""
NOTHING_TO_DO: LiteralString = """
    select not exists (select from learning_submission_jobs where status <> 'failed' and visible_at <= now()) as it
"""

MIME_TYPES = {"text": None, "image": "image/png", "file": "application/pdf"}
PAGES_OF = {"text": (), "image": (page_line(1),), "file": tuple(page_line(n) for n in range(1, PAGES_OF_A_FILE + 1))}
EVERY_JOB = ("lease", "set_subject", "read_submission", "begin_step")


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
    killed_in_soak_only: bool = False
    cut_in_soak_only: bool = True

    @property
    def pages(self) -> tuple[str, ...]:
        return tuple(page for each in self.handed_in for page in PAGES_OF[each])

    def calls(self) -> list[str]:
        """Of a run in which nothing happens. The documents come first."""
        return [*self.pages, *[FEEDBACK] * (len(self.handed_in) + self.pauses)]


KINDS = (
    Kind("text", ("text",), ("settle",), killed_in_soak_only=True),
    Kind("two texts", ("text", "text"), ("settle",), killed_in_soak_only=True, cut_in_soak_only=False),
    Kind("picture", ("image",), ("checkpoint", "settle"), killed_in_soak_only=True),
    Kind("document", ("file",), ("checkpoint_page", "checkpoint", "settle"), cut_in_soak_only=False),
    Kind("retried", ("text",), ("retry",), "transient", pauses=1),
    Kind("released", ("text",), ("release",), "unavailable", pauses=1),
    Kind("failed", ("text",), ("fail",), "permanent", failures=1),
)
killed_kinds = pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind.name, marks=[pytest.mark.long] * kind.killed_in_soak_only) for kind in KINDS]
)
cut_kinds = pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind.name, marks=[pytest.mark.long] * kind.cut_in_soak_only) for kind in KINDS]
)


def until(condition: Callable[[], object], what: str) -> None:
    """Looks more often than others do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(LOOK_SECONDS)


@dataclass(slots=True)
class Sweep:
    """One kind of job again and again, with a worker behind the wire. `entered` are the submissions of the round at hand."""

    school: School
    platform: psycopg.Connection[Any]
    monitor: Monitor
    wire: Wire
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
        row = self.school.row(submission_id)
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


@pytest.fixture(params=["auto", pytest.param("true", marks=pytest.mark.long)])
def pooled(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sweep(school: School, tmp_path: Path, kind: Kind, pooled: str) -> Iterator[Sweep]:
    with (
        wire_before(school.database.worker_dsn) as wire,
        psycopg.connect(school.database.admin_dsn, autocommit=True) as platform,
        open_monitor(school.database.worker_dsn) as monitor,
    ):
        yield Sweep(school, platform, monitor, wire, tmp_path / "ledger", kind, pooled)


@cut_kinds
def test_a_connection_cut_after_any_message_costs_nothing(sweep: Sweep) -> None:
    """A worker whose connection is cut after the k-th message ends its job once, with no call of a model and no lease more."""
    with sweep.worker(sweep.wire.dsn) as worker:
        until(lambda: is_idle(worker), "an idle worker")
        rounds = next(k for k in range(1, MAX_MESSAGES) if not cut_after(sweep, worker, k))
        assert Counter.REJECTED_BY_FENCE not in counted(worker)
    assert_all_were_met(sweep, rounds)


def cut_after(sweep: Sweep, worker: BareWorker, k: int) -> bool:
    """False if the job was over before message k."""
    sweep.wire.strike_after(k)
    sweep.enter()
    worker.wake()
    until(lambda: sweep.wire.has_struck or sweep.is_resting(worker, is_lost_sight_of=True), f"a strike after message {k}")
    sweep.wire.spare()
    worker.wake()  # it need not wait before it connects again
    until(lambda: sweep.is_over(worker, is_lost_sight_of=True), f"the end of a job whose connection was cut after message {k}")
    assert sweep.ends().count("failed") == sweep.kind.failures
    assert sweep.called() == sweep.kind.calls(), f"message {k}"
    leases = sum(len(sweep.school.leases(each)) for each in sweep.entered)
    assert leases == len(sweep.entered) + sweep.kind.pauses, f"message {k}"
    return sweep.wire.has_struck


@killed_kinds
def test_a_worker_killed_after_any_message_costs_no_committed_call(sweep: Sweep) -> None:
    """A worker is killed after the k-th message: its job is returned, ended once by another, and what was committed is kept."""
    with sweep.worker(sweep.school.database.worker_dsn) as heir:
        until(lambda: is_idle(heir), "an idle worker")
        heir.control(ControlRecord(leasing_slots=0))
        rounds = next(k for k in range(1, MAX_MESSAGES) if not killed_after(sweep, heir, k))
    assert_all_were_met(sweep, rounds)


def killed_after(sweep: Sweep, heir: BareWorker, k: int) -> bool:
    """False if the job was over before message k."""
    sweep.wire.strike_after(k, is_deadly=True)
    sweep.enter()
    with sweep.worker(sweep.wire.dsn) as worker:
        sweep.wire.name_victim(worker.pid)
        until(lambda: sweep.wire.has_struck or sweep.is_resting(worker), f"a strike after message {k}")
        if not sweep.wire.has_struck:
            sweep.wire.spare()
            return False
        worker.exit_status()
        committed, called = sweep.committed(), sweep.called()
        return_all(sweep, worker)
    inherit(sweep, heir)
    assert sweep.ends().count("failed") <= sweep.kind.failures  # the error itself may have died with its worker
    assert sweep.called()[len(called) :] == sweep.missing(committed, called), f"message {k}"
    return True


def return_all(sweep: Sweep, worker: BareWorker) -> None:
    """What the monitor does with the keys on a dead worker's scoreboard: nothing stays leased, each death is counted once."""
    record = worker.record()
    keys = (record.lease_key, getattr(record, "next_lease_key", None))
    jobs_of = {record.lease_key: record.job_id}
    returned = [sweep.monitor.return_lease(jobs_of.get(key), key, MAX_CRASHES) for key in keys if key]
    jobs = sweep.school.owner.execute(JOBS, [list(sweep.entered)]).fetchall()
    assert [job["status"] for job in jobs if job["status"] == "leased"] == []
    assert sum(job["crashes"] for job in jobs) == returned.count(Returned.RETURNED)


def inherit(sweep: Sweep, heir: BareWorker) -> None:
    """The heir ends what is left. It is woken only for work, so that it never looks where the next victim does."""
    if sweep.school.is_final(*sweep.entered):
        return
    sweep.hasten()
    heir.control(ControlRecord(leasing_slots=1))
    heir.wake()
    until(lambda: sweep.is_over(heir), "the end of a job whose worker was killed")
    heir.control(ControlRecord(leasing_slots=0))


def assert_all_were_met(sweep: Sweep, rounds: int) -> None:
    """The sweep was about every statement that it claims to be about, each of several messages."""
    names = (*EVERY_JOB, *sweep.kind.statements)
    assert [name for name in names if not any(is_sent(name, sent) for sent in sweep.wire.statements)] == []
    assert rounds > FEWEST_MESSAGES * len(names)


def is_sent(name: str, sent: str) -> bool:
    """On the wire parameters have numbers: the words up to the first one tell a statement."""
    return sent.startswith(statement(name).partition("%(")[0])
