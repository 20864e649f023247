"""The features of the live database are found in its catalogs, for each connection and again after signs of a migration."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import LiteralString

import psycopg
import pytest
from psycopg.rows import dict_row

from testkit.bare_worker import event_pair
from testkit.database import Database, temporary_database
from worker.core.platform import CODES_OF_2025, PLATFORM_OF_2025, Platform
from worker.ipc.contract import Wiring
from worker.ipc.scoreboard import Scoreboard
from worker.queue.connection import Connection, Pooled, RowRefused, connect
from worker.queue.platform_probe import PRACTICE, QUEUE, USAGE, PlatformProbe, forget, platform_of, probe
from worker.report import Report
from worker.session import Session
from worker.wakeups import Wakeups

pytestmark = pytest.mark.postgres

LIMIT_SECONDS = 60.0
CONTEXT = frozenset({"instruction_md", "teacher_context_md", "model_solution_md"})
PLATFORM_OF_2026 = Platform(
    records_usage=True,
    has_practice=True,
    has_dialog=True,
    context_columns=CONTEXT,
    error_codes=CODES_OF_2025 | {"feedback_invalid_analysis"},
)


@pytest.fixture(scope="module")
def databases(cluster_dsn: str) -> Iterator[dict[int, Database]]:
    with (
        temporary_database(cluster_dsn, audited=False) as old,
        temporary_database(cluster_dsn, audited=False, year=2026) as new,
    ):
        yield {2025: old, 2026: new}


@pytest.fixture
def owner(databases: dict[int, Database]) -> Iterator[Connection]:
    """The owner of the schema of 2026, whose changes are undone."""
    with psycopg.connect(databases[2026].admin_dsn, row_factory=dict_row) as connection:
        yield connection
        connection.rollback()


def as_worker(owner: Connection, database: Database, *changes: LiteralString) -> PlatformProbe:
    """Probe the changed schema with the worker's rights, in the owner's transaction."""
    for change in changes:
        owner.execute(change)
    owner.execute(psycopg.sql.SQL("set local session authorization {}").format(psycopg.sql.Identifier(f"{database.name}_worker")))
    return probe(owner)


@pytest.mark.parametrize("pooled", ["false", "true"])
@pytest.mark.parametrize(("year", "platform"), [(2025, PLATFORM_OF_2025), (2026, PLATFORM_OF_2026)])
def test_the_schema_shows_its_year(databases: dict[int, Database], year: int, platform: Platform, pooled: Pooled) -> None:
    """A worker's login finds nothing new in a schema of 2025-12, and everything in one of 2026, behind a pooler too."""
    with connect(databases[year].worker_dsn, "test", pooled=pooled) as worker:
        found = probe(worker)
        assert platform_of(worker) == found.platform == platform
        assert (found.is_of_2026, found.role, found.withheld) == (year == 2026, worker.info.user, frozenset())


def test_a_login_without_the_new_functions_has_the_abilities_of_2025(databases: dict[int, Database]) -> None:
    """A login without the right to the new functions records no usage and does no practice. The fitting role is named."""
    with connect(databases[2026].limited_dsn, "test") as limited:
        found = probe(limited)
    assert (found.platform.records_usage, found.platform.has_practice, found.platform.context_columns) == (False, False, CONTEXT)
    assert (found.withheld, found.fitting_role) == (frozenset({USAGE, PRACTICE}), "learning_worker")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("drop function learning_worker_fail_practice_attempt", {"has_practice": False}),
        ("revoke execute on function learning_worker_get_practice_attempt_context from learning_worker", {"has_practice": False}),
        (
            "alter function learning_worker_record_ai_usage rename to learning_worker_record_ai_usage_v2",
            {"records_usage": False},
        ),
        ("drop table unit_tasks", {"context_columns": frozenset()}),
        ("revoke select on unit_tasks from learning_worker", {"context_columns": frozenset()}),
        (
            "revoke select on unit_tasks from learning_worker; grant select (instruction_md) on unit_tasks to learning_worker",
            {"context_columns": frozenset()},  # not the id, by which the row is found
        ),
        (
            "revoke select on unit_tasks from learning_worker; "
            "grant select (id, instruction_md) on unit_tasks to learning_worker",
            {"context_columns": frozenset({"instruction_md"})},
        ),
        (
            "alter table unit_tasks rename teacher_context_md to hints_md; alter table unit_tasks drop model_solution_md",
            {"context_columns": frozenset({"instruction_md", "hints_md"})},
        ),
        ("alter table learning_submissions drop dialog_session_id", {"has_dialog": False}),
        (
            "alter table learning_submissions drop constraint known_kind, "
            "add constraint learning_submissions_kind_check check (kind in ('text', 'image', 'file', 'h5p'))",
            {"has_dialog": False},
        ),
        ("alter table learning_submissions drop constraint known_kind", {"has_dialog": True}),
        (
            "alter table learning_submissions drop constraint known_error_code, "
            "add constraint learning_submissions_error_code_check "
            "check (error_code is null or error_code = any (array['vision_failed', 'feedback_failed']::text[]))",
            {"error_codes": CODES_OF_2025},
        ),
        (
            "create or replace function "
            "learning_worker_update_failed(p_submission_id uuid, p_error_code text, p_last_error text) "
            "returns void language plpgsql as $$ begin\n"
            "-- 'feedback_invalid_analysis' comes later\n"
            "if p_error_code not in ('vision_failed', 'vision_retrying') then raise exception 'code'; end if; end $$",
            {"error_codes": CODES_OF_2025},
        ),
    ],
)
def test_each_ability_is_found_by_itself(
    databases: dict[int, Database], owner: Connection, change: LiteralString, expected: dict[str, object]
) -> None:
    """A function, right, column, kind or code that is missing costs its own ability and no other. Nothing raises."""
    abilities = {name: getattr(PLATFORM_OF_2026, name) for name in Platform.__slots__}
    assert as_worker(owner, databases[2026], change).platform == Platform(**abilities | expected)


@pytest.mark.parametrize(
    "check",
    [
        "error_code in ('vision_failed', 'feedback_invalid_analysis')",
        "error_code is null or error_code = any (array['feedback_invalid_analysis'::text, 'vision_failed'])",
        "error_code = any ('{vision_failed,feedback_invalid_analysis}'::text[])",
        "error_code = 'vision_failed' or error_code::varchar = 'feedback_invalid_analysis'",
        "error_code <> 'ä' and error_code <> 'none'",
    ],
)
def test_the_codes_of_a_check_are_found_in_each_form(
    databases: dict[int, Database], owner: Connection, check: LiteralString
) -> None:
    """The parsed form of a check has the codes, in whatever form it was written. The last one has not the new code."""
    change = psycopg.sql.SQL("alter table learning_submissions drop constraint known_error_code, add check ({})")
    owner.execute(change.format(psycopg.sql.SQL(check)))
    new = as_worker(owner, databases[2026]).platform.error_codes - CODES_OF_2025
    assert new == ({"feedback_invalid_analysis"} if "feedback" in check else frozenset())


def test_a_schema_that_may_not_be_used_is_taken_as_of_2025(databases: dict[int, Database], owner: Connection) -> None:
    """Without the right to the schema's names no ability is assumed, and nothing raises."""
    assert as_worker(owner, databases[2026], "revoke usage on schema public from learning_worker, public") == PlatformProbe()


@pytest.mark.parametrize(("member_of", "is_told"), [("learning_worker", True), ("gustav_worker", False)])
def test_the_platforms_own_role_is_named_first(
    databases: dict[int, Database], owner: Connection, member_of: str, *, is_told: bool
) -> None:
    """A login that is no member of the platform's gustav_worker gets that name, though other roles have the functions too."""
    name = psycopg.sql.Identifier(f"{databases[2026].name}_limited")
    owner.execute("create role gustav_worker")
    owner.execute("grant execute on all functions in schema public to gustav_worker, learning_worker")
    if not is_told:
        owner.execute(psycopg.sql.SQL("grant {} to {}").format(psycopg.sql.Identifier(member_of), name))
    owner.execute(psycopg.sql.SQL("set local session authorization {}").format(name))
    found = probe(owner)
    assert (bool(found.withheld), found.fitting_role) == (is_told, "gustav_worker" if is_told else "")


def test_the_facts_are_kept_with_their_connection(databases: dict[int, Database]) -> None:
    """One statement per connection. After a migration the old facts stay until they are forgotten, or for a new connection."""
    with connect(databases[2026].admin_dsn, "test", allows_service_role=True) as worker, worker.transaction(force_rollback=True):
        assert "feedback_invalid_analysis" in platform_of(worker).error_codes
        worker.execute("drop function learning_worker_record_ai_usage")
        assert platform_of(worker).records_usage
        forget(worker)
        assert not platform_of(worker).records_usage


def test_a_missing_function_of_the_queue_is_not_withheld(databases: dict[int, Database], owner: Connection) -> None:
    """A function that no role has is missing, and no other role would help. A table without a right is withheld."""
    assert as_worker(owner, databases[2026], "drop function learning_worker_mark_retry").withheld == frozenset()
    owner.rollback()
    change: LiteralString = "revoke delete on learning_submission_jobs from learning_worker"
    assert as_worker(owner, databases[2026], change).withheld == frozenset({QUEUE})


def test_a_probe_waits_for_no_lock(databases: dict[int, Database], owner: Connection) -> None:
    """The facts are read while a migration holds every table exclusively."""
    owner.execute("lock table learning_submissions, learning_submission_jobs, unit_tasks in access exclusive mode")
    with connect(databases[2026].worker_dsn, "test") as worker:
        worker.execute("set lock_timeout = '1ms'")
        assert probe(worker).platform == PLATFORM_OF_2026


# Sessions


REVOKE: LiteralString = "revoke execute on function learning_worker_record_ai_usage from learning_worker"
GRANT: LiteralString = "grant execute on function learning_worker_record_ai_usage to learning_worker"
RECORD: LiteralString = (
    "select learning_worker_record_ai_usage(gen_random_uuid(), gen_random_uuid(), '', '', '', '', true, 1, 1, 1, null)"
)
REFUSING: LiteralString = """
    create function refuse() returns void language plpgsql as $$ begin raise exception 'unknown code'; end $$;
    grant execute on function refuse to learning_worker
"""


@pytest.fixture
def migrated(databases: dict[int, Database]) -> Iterator[Connection]:
    """A second session of the owner, which changes the schema while a worker is connected. The right comes back at the end."""
    with psycopg.connect(databases[2026].admin_dsn, autocommit=True, row_factory=dict_row) as connection:
        connection.execute(REFUSING)
        yield connection
        connection.execute(GRANT)
        connection.execute("drop function refuse")


@contextmanager
def a_session(dsn: str) -> Iterator[Session]:
    """The connection of a worker in this process."""
    with ExitStack() as undo:
        fds = [os.eventfd(0, os.EFD_NONBLOCK), *event_pair(), *os.pipe()]
        for fd in fds:
            undo.callback(os.close, fd)
        wiring = Wiring(0, 1, 1, Scoreboard(), fds[0], fds[2], fds[3])
        session = Session(partial(connect, dsn, "test"), Report(wiring), Wakeups(fds[0], fds[3], lambda: False))
        undo.callback(session.close)
        yield session


def backend_pid(session: Session) -> int:
    return session.ask(lambda connection: connection.info.backend_pid)


def test_a_session_has_the_facts_of_its_connection(databases: dict[int, Database]) -> None:
    """Before the first request everything is as of 2025-12. The first request has the facts of its connection already."""
    with a_session(databases[2026].worker_dsn) as session:
        assert session.platform == PLATFORM_OF_2025
        assert session.ask(lambda _: session.platform) == PLATFORM_OF_2026


@pytest.mark.parametrize("sign", ["P0001", "42501"])
def test_a_session_reads_the_facts_again_after_the_sign_of_a_migration(
    databases: dict[int, Database], migrated: Connection, sign: str
) -> None:
    """After a refusal the connection stays and its facts are new. After a lost right the request is repeated with new facts."""
    seen: list[bool] = []

    def write(connection: Connection) -> None:
        seen.append(session.platform.records_usage)
        if sign == "P0001":
            connection.execute("select refuse()")
        elif seen[-1]:
            connection.execute(RECORD)

    with a_session(databases[2026].worker_dsn) as session:
        pid = backend_pid(session)
        migrated.execute(REVOKE)
        with suppress(RowRefused):
            session.ask(write)
        assert (backend_pid(session) == pid) is (sign == "P0001")
        assert not session.platform.records_usage
        assert seen == ([True] if sign == "P0001" else [True, False])


@pytest.mark.parametrize("is_of_data", [True, False])
def test_an_error_of_one_row_is_no_sign_of_a_migration(
    databases: dict[int, Database], migrated: Connection, *, is_of_data: bool
) -> None:
    """Neither a success nor an error in the data of one row makes a session read the facts again."""
    with a_session(databases[2026].worker_dsn) as session:
        backend_pid(session)
        migrated.execute(REVOKE)
        with suppress(RowRefused):
            session.ask(lambda connection: connection.execute("select 1 / %s", [0 if is_of_data else 1]))
        assert session.ask(lambda _: session.platform.records_usage)


def test_a_session_finds_an_added_function_without_an_error(
    databases: dict[int, Database], migrated: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that only adds causes no error. The facts are read again from time to time, on the same connection."""
    migrated.execute(REVOKE)
    with a_session(databases[2026].worker_dsn) as session:
        assert not session.ask(lambda _: session.platform.records_usage)
        migrated.execute(GRANT)
        assert not session.ask(lambda _: session.platform.records_usage)
        pid = backend_pid(session)
        monkeypatch.setattr("worker.session.PROBE_EVERY_SECONDS", 0.0)
        assert session.ask(lambda _: session.platform.records_usage)
        assert backend_pid(session) == pid
