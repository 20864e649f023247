"""The queue keeps its contract in any order of events, and a missing fence breaks it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from psycopg.rows import DictRow

from testkit.database import SCHEMA, Database
from testkit.filled_queue import FilledQueue
from testkit.monitor import Monitor, open_monitor
from tests.postgres.queue_machine import DoubleResult, FenceBroken, MixedMachine, QueueMachine
from worker.queue.bounded import BoundedAsyncConnection, BoundedConnection
from worker.queue.statements import statement

pytestmark = pytest.mark.postgres
SCHEMAS = (2025, pytest.param(2026, marks=pytest.mark.second_tier))

FENCE = "and lease_key = %(lease_key)s"
FENCED = (
    "begin_step",
    "checkpoint_page",
    "checkpoint",
    "settle",
    "fail",
    "retry",
    "release",
    "hold",
    "delete_job",
    "reclaim",
    "park",
    "mark_refused",
)
QUICK = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
THOROUGH = settings(QUICK, max_examples=500, stateful_step_count=50, derandomize=False)
SEARCHING = settings(QUICK, max_examples=1000, phases=[Phase.generate])  # stops at the first failure
profiles = pytest.mark.parametrize(
    "profile", [pytest.param(QUICK, id="quick"), pytest.param(THOROUGH, id="thorough", marks=pytest.mark.third_tier)]
)


@pytest.fixture
def monitor(shared_database: Database) -> Iterator[Monitor]:
    with open_monitor(shared_database.worker_dsn) as opened:
        yield opened


def run(machine: type[QueueMachine], queue: FilledQueue, monitor: Monitor, profile: settings) -> None:
    run_state_machine_as_test(cast(Any, lambda: machine(queue, monitor)), settings=profile)


@profiles
def test_no_sequence_of_events_breaks_the_contract(queue: FilledQueue, monitor: Monitor, profile: settings) -> None:
    """With fences alone: at most one result, no lost job, all counts as in the contract, no write without a lease."""
    run(QueueMachine, queue, monitor, profile)


@profiles
def test_the_platforms_own_worker_beside_ours_breaks_nothing(queue: FilledQueue, monitor: Monitor, profile: settings) -> None:
    """With the functions' guard, a worker that names no lease may write at any time: at most one result."""
    with guarded(queue):
        run(MixedMachine, queue, monitor, profile)


@pytest.mark.parametrize("name", FENCED)
def test_a_missing_fence_is_found(queue: FilledQueue, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without the lease's key in one statement, a holder without a lease writes, and the machine finds it."""
    take_fence_from(name, monkeypatch)
    with pytest.raises(FenceBroken):
        run(QueueMachine, queue, monitor, SEARCHING)


class ResultsAlone(QueueMachine):
    """Checks only the number of results. One job is enough for that."""

    max_jobs = 1

    def judge(self, submissions: list[DictRow]) -> None: ...


@pytest.mark.parametrize("name", ["settle", "fail", "reclaim"])
def test_a_missing_fence_writes_twice(queue: FilledQueue, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without the lease's key, a submission gets a second result, and the machine finds it."""
    take_fence_from(name, monkeypatch)
    with pytest.raises(DoubleResult):
        run(ResultsAlone, queue, monitor, SEARCHING)


def test_a_missing_guard_is_found(queue: FilledQueue, monitor: Monitor) -> None:
    """Without the functions' guard, the platform's worker writes a second result, because it names no lease."""
    with pytest.raises(DoubleResult):
        run(MixedMachine, queue, monitor, SEARCHING)


@contextmanager
def guarded(queue: FilledQueue) -> Iterator[None]:
    """Install the platform's guard and keep the audit. Remove the guard afterwards."""
    functions, audit = ((SCHEMA / name).read_text() for name in ("functions.sql", "audit.sql"))
    guard = next(part for part in functions.split("\n\n") if "function public.learning_submission_accepts_result" in part)
    try:
        queue.owner.execute(guard.encode())
        yield
    finally:
        queue.owner.execute(audit.encode())


def take_fence_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the fence of one statement on every connection, in pipelines too."""
    fenced = statement(name)
    assert FENCE in fenced
    for kind, base in ((BoundedConnection, psycopg.Connection), (BoundedAsyncConnection, psycopg.AsyncConnection)):
        monkeypatch.setattr(kind, "execute", without_fence(base.execute, fenced), raising=False)


def without_fence(execute: Callable[..., Any], fenced: str) -> Callable[..., Any]:
    def unfenced(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        return execute(connection, query.replace(FENCE, "") if query == fenced else query, *arguments, **options)

    return unfenced
