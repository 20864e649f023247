"""The plans of all statements: each walks an index, and none reads the whole table or sorts it."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from testkit.database import Database, temporary_database
from testkit.filled_queue import FilledQueue, open_queue
from worker.core.abilities import ALL_ABILITIES
from worker.queue.abilities import ability_values
from worker.queue.connection import Connection, Pooled, connect
from worker.queue.polls import COUNT_BOUND
from worker.queue.statements import statement

pytestmark = pytest.mark.postgres

QUEUED, LEASED = 200_000, 4


def _parameter(value: object) -> object:
    """Write a list as text of an array, for both ways to ask for a plan."""
    return "{" + ",".join(f'"{each}"' for each in value) + "}" if isinstance(value, list) else value


SEARCHES = ("poll_queue", "lease", "lease_past_closed_gates", "find_job", "leased_keys")
MANY_PAGES = 100
FILL: LiteralString = """
    insert into learning_submission_jobs (submission_id, payload, visible_at)
    select %s, '{}', now() - make_interval(secs => number) from generate_series(1, %s) as number
"""
TASKS = 20_000
TASK_COLUMNS: tuple[LiteralString, ...] = ("instruction_md", "teacher_context_md", "model_solution_md")
FILL_TASKS: LiteralString = """
    insert into unit_tasks (id, section_id, instruction_md)
    select gen_random_uuid(), gen_random_uuid(), 'task ' || number from generate_series(1, %s) as number
"""
WITHOUT_JOBS = {
    "bound_transaction",
    "obstacle",  # a part of others
    "quarantined",  # the same
    "acquire_model_lock",
    "end_session",
    "fail_attempt",  # its function is not in every schema
    "read_task",  # its table is not in every schema: see test_a_task_is_read_by_its_key
    "open_session",
    "permits_held",
    "probe_platform",
    "read_leased",
    "read_submission",
    "record_usage",  # its function is not in every schema: tests/postgres/test_usage.py has its plan
    "set_course",
    "set_subject",
}
STATEMENTS = sorted({file.name.removesuffix(".sql") for file in files("worker.queue").joinpath("sql").iterdir()} - WITHOUT_JOBS)
VALUES: dict[str, object] = {
    "analysis": "{}",
    "bound": COUNT_BOUND,
    "count_as": "crashes",
    "delay_seconds": 10.0,
    "ends_attempts": False,
    "error_class": "SomeError",
    "error_code": "vision_failed",
    "feedback": False,
    "feedback_md": "feedback",
    "job_error_code": "vision_failed",
    "last_error": "vision_failed",
    "job_id": uuid4(),
    "job_ids": "{}",
    "lease_key": uuid4(),
    "lease_seconds": 45.0,
    "limit": 2,
    "held_failure": "{}",
    "needs": "{}",
    "answer": "{}",
    "fingerprint": "fingerprint",
    "page": 2,
    "grade": "{}",
    "permit_key": 1,
    "permit_keys": "{1}",
    "lost_pids": "{}",
    "permits": 2,
    "raw_metadata": "{}",
    "position": None,
    "refused_job_ids": "{}",
    "sibling_keys": "{}",
    "step": "vision",
    "task_id": uuid4(),
    **{name: _parameter(value) for name, value in ability_values(ALL_ABILITIES).items()},
    "text_md": "text",
    "skipped_job_ids": "{}",
    "vision": True,
}


@pytest.fixture(scope="module")
def long_database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn) as fresh:
        with open_queue(fresh) as queue:
            fill(queue)
        yield fresh


@pytest.fixture
def worker(long_database: Database) -> Iterator[Connection]:
    with psycopg.connect(long_database.worker_dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield connection


def fill(queue: FilledQueue) -> None:
    """Insert a long queue and a few leases, one of them expired, and update the statistics."""
    submission_id = queue.enter().submission_id
    queue.owner.execute(FILL, [submission_id, QUEUED])
    for number in range(LEASED):
        queue.enter(leased_for_seconds=60.0 * number - 30)
    queue.owner.execute("analyze learning_submission_jobs")


def custom_plan(connection: Connection, name: str, **values: object) -> str:
    """Return the plan for these values, as in the first five executions on a connection."""
    return _text(connection.execute(b"explain " + text_of(name).encode(), VALUES | values))


def generic_plan(connection: Connection, name: str, **chosen: object) -> str:
    """Return the plan for any values, which PostgreSQL may choose for a prepared statement later."""
    text = text_of(name)
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", text)
    connection.execute("set plan_cache_mode = force_generic_plan")
    connection.execute(f"prepare asked as {numbered}".encode())
    values = psycopg.sql.SQL(", ").join(psycopg.sql.Literal(_literal((VALUES | chosen)[name])) for name in names)
    arguments = psycopg.sql.SQL("({})").format(values) if names else psycopg.sql.SQL("")
    return _text(connection.execute(psycopg.sql.SQL("explain execute asked") + arguments))


def text_of(name: str) -> LiteralString:
    """Return the statement's text, that of read_task with all its columns."""
    return statement(name) if name != "read_task" else statement(name).format(**{column: column for column in TASK_COLUMNS})


def _literal(value: object) -> object:
    return value if isinstance(value, int | float | None) else str(value)


def _text(cursor: psycopg.Cursor[psycopg.rows.DictRow]) -> str:
    return "\n".join(row["QUERY PLAN"] for row in cursor)


@pytest.mark.parametrize("plan", [custom_plan, generic_plan])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_walks_an_index(worker: Connection, name: str, plan: Callable[[Connection, str], str]) -> None:
    """Over 200 000 queued rows no statement reads the whole table of the queue, and none sorts."""
    lines = plan(worker, name).splitlines()
    assert [line for line in lines if re.search(r"Seq Scan on learning_submission_jobs|Sort", line)] == []
    assert [line for line in lines if re.search(r"Index (Only )?Scan using learning_submission_jobs", line)] != []


@pytest.fixture(scope="module")
def short_database(cluster_dsn: str) -> Iterator[Database]:
    """A queue of four jobs, with statistics."""
    with temporary_database(cluster_dsn) as fresh:
        with open_queue(fresh) as queue:
            for number in range(LEASED):
                queue.enter(leased_for_seconds=60.0 * number - 30)
            queue.owner.execute("analyze learning_submission_jobs")
        yield fresh


@pytest.mark.parametrize("pooled", ["false", "true"])
@pytest.mark.parametrize("plan", [custom_plan, generic_plan])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_short_queue_is_planned_like_a_long_one(
    short_database: Database, name: str, plan: Callable[[Connection, str], str], pooled: Pooled
) -> None:
    """No plan depends on a small table, because it may be kept when thousands of jobs arrive at once."""
    with connect(short_database.worker_dsn, "test", pooled=pooled) as worker:
        text = plan(worker, name)
    assert re.findall(r"Seq Scan on learning_submission_jobs|Sort|Bitmap", text) == []
    assert (
        re.findall(r"Index (?:Only )?Scan (?:Backward )?using (?!pg_).*\n(?!\s*Index Cond)", text) == []
    )  # an index read from end to end


@pytest.mark.parametrize("plan", [custom_plan, generic_plan])
@pytest.mark.parametrize("name", ["lease", "lease_past_closed_gates"])
def test_a_lease_from_a_position_begins_there(worker: Connection, name: str, plan: Callable[..., str]) -> None:
    """A lease from a position walks the index from there and does not search the leased rows."""
    text = plan(worker, name, position=datetime.now(UTC) - timedelta(hours=1))
    assert re.search(r"Index Cond: \(\(status = 'queued'::text\) AND .*visible_at >= ", text)
    assert "Seq Scan on learning_submission_jobs" not in text
    assert re.search(r"One-Time Filter: (false|\(\S+ IS NULL\))", text)  # expired leases are not searched


@pytest.mark.parametrize("plan", [custom_plan, generic_plan])
def test_a_task_is_read_by_its_key(cluster_dsn: str, plan: Callable[[Connection, str], str]) -> None:
    """Among twenty thousand tasks one row is read by the primary key, and row security judges that row alone."""
    with temporary_database(cluster_dsn, year=2026) as database:
        with psycopg.connect(database.admin_dsn) as owner:
            owner.execute(FILL_TASKS, [TASKS])
            owner.execute("analyze unit_tasks")
        with psycopg.connect(database.worker_dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as worker:
            text = plan(worker, "read_task")
    assert re.search(r"Index Scan using unit_tasks_pkey.*\n\s*Index Cond: \(id = ", text)
    assert "Seq Scan on unit_tasks" not in text


@pytest.mark.parametrize("tried", [0, 1_000])
def test_a_search_for_a_refused_row_reads_few_pages(worker: Connection, tried: int) -> None:
    """Past a thousand jobs that were tried before, a hundred more are found on a few pages, and nothing is read twice."""
    oldest = "select id from learning_submission_jobs where status = 'queued' order by visible_at limit %s"
    known = [row["id"] for row in worker.execute(oldest, [tried])]
    assert pages_read(worker, "lease_candidates", refused_job_ids=known) < 10 * MANY_PAGES


@pytest.mark.second_tier
def test_failed_rows_do_not_slow_the_queue(database: Database) -> None:
    """A poll and a lease read a few pages each, however many failed rows are at the start of the table."""
    with open_queue(database) as queue:
        queue.owner.execute(FILL, [queue.enter().submission_id, QUEUED // 2])
        queue.owner.execute("update learning_submission_jobs set status = 'failed'")
        fill(queue)
        assert {name: pages_read(queue.worker, name) < MANY_PAGES for name in SEARCHES} == dict.fromkeys(SEARCHES, True)


def test_a_search_past_a_closed_gate_reads_a_hundred_jobs(worker: Connection) -> None:
    """The hundred jobs are on a few pages of any queue, and none is read a second time."""
    assert pages_read(worker, "lease_past_closed_gates", vision=False) < MANY_PAGES


def pages_read(connection: Connection, name: str, **values: object) -> int:
    with connection.transaction(force_rollback=True):
        plan = _text(connection.execute(b"explain (analyze, buffers, timing off) " + statement(name).encode(), VALUES | values))
    found = re.search(r"Buffers: shared ([a-z0-9= ]+)", plan)
    assert found is not None
    return sum(map(int, re.findall(r"(?:hit|read)=(\d+)", found[1])))
