"""The change-over to and from the platform's worker, by the steps of docs/deployment.md.

The database has no guard against a second result, so each step must keep the two workers apart by itself.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, LiteralString, cast
from uuid import UUID, uuid4

import psycopg
import pytest

from testkit.database import YEARS, Year, temporary_database
from testkit.live_fleet import LiveFleet
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.platform.case import WORKS, Adapter, Case, Ending, Work
from testkit.platform.entry import enter
from testkit.platform.foreign import Scene
from testkit.platform_worker.process import PlatformWorker, install_duties, start_platform_worker
from testkit.readers import unreadable_results
from testkit.site import Site, Value, open_site
from testkit.supervisor_process import as_variables, run_command
from testkit.waiting import until

pytestmark = pytest.mark.postgres

PAGE: Final = Path(__file__).parents[2] / "docs" / "deployment.md"
STEP: Final = re.compile(r"^\d+\. (.*?)(?=^\d+\. |^[^\s\d]|\Z)", re.MULTILINE | re.DOTALL)
SQL: Final = re.compile(r"```sql\n(.*?)```", re.DOTALL)
COMMAND: Final = re.compile(r"learning-supervisor ([a-z]+)\n")
THERE, BACK = "Change over from the platform's worker", "Change back to the platform's worker"
TEMPFAIL: Final = 75
FOREIGN: Final = "testkit.platform.foreign"
CHECK_SECONDS: Final = 90.0  # of a busy machine
SOON_SECONDS, LATE_SECONDS = 2.0, 25.0  # a lease of the platform's worker that ends in the test, and a wait that does not
DUTIES: Final = ("export", "expired export", "purge", "invitation mail")
WAITS: LiteralString = (
    "select visible_at > now() as it from learning_submission_jobs where submission_id = %s and status = 'queued'"
)
GUARD: LiteralString = """
    create or replace function learning_submission_accepts_result(p_status text) returns boolean
        language sql immutable as $$ select p_status in ('pending', 'extracted') $$
"""
LATER: LiteralString = "alter table learning_submission_jobs alter column visible_at set default now() + interval '1 hour'"
PLATFORM_LEASES: LiteralString = "select count(*) as n from audit_leases where application_name like 'platform%%'"
NOW: LiteralString = "select clock_timestamp() as it"
WAITED: LiteralString = "select count(*) as jobs, max(at - %s) as longest from audit_results where at > %s"
DELETION: LiteralString = "insert into other_duties (duty, course_id) values ('course deletion', %s)"
DONE: LiteralString = "select coalesce(bool_and(done_pid is not null), true) as it from other_duties"
COUNTS: LiteralString = (
    "select payload -> 'expiries' as expiries, payload -> 'crashes' as crashes from audit_finishes where submission_id = %s"
)
FIRST_LEASE: LiteralString = (
    "select min(at) as it from audit_leases where submission_id = %s and application_name like 'platform%%'"
)


@dataclass(frozen=True, slots=True)
class Place:
    """The queue of one year, with adapters that both workers use. `cases` are works that have not been handed in."""

    year: Year
    site: Site
    scene: Scene
    cases: Iterator[Case]

    def hand_in(self, count: int) -> dict[UUID, Case]:
        """Hand in the next works, each of another kind."""
        return {self.enter(case): case for case, _ in zip(self.cases, range(count), strict=False)}

    def enter(self, case: Case) -> UUID:
        """Enter a work in several statements. No worker sees its job before the last one."""
        submission_id = enter(self.site, case)
        self.site.delay(submission_id, 0)
        return submission_id

    def hand_in_with(self, word: str, step: str) -> tuple[UUID, Case]:
        """Hand in a work whose first call, for this step, is answered by this word of the scene."""
        case = next(case for case in self.cases if case.steps[0] == step)
        self.scene.plan(case.mark, step, [word])
        return self.enter(case), case

    def start_platform(self, **environ: str) -> PlatformWorker:
        """Start the platform's worker, which polls quickly."""
        values = {
            "LEARNING_WORKER_DATABASE_URL": self.site.database.worker_dsn,
            "LEARNING_VISION_ADAPTER": FOREIGN,
            "LEARNING_FEEDBACK_ADAPTER": FOREIGN,
            "SCENE": str(self.site.directory),
            "WORKER_POLL_INTERVAL": "0.05",
        }
        return self.site.undo.enter_context(start_platform_worker(self.year, values | environ))

    def start_duties(self) -> PlatformWorker | None:
        """Start the platform's worker for its other duties, if the year has any."""
        return self.start_platform(WORKER_TEST_RUN_ID="other-duties") if self.year > 2025 else None

    def settings(self) -> dict[str, Value]:
        """Return the settings of this service."""
        adapters: dict[str, Value] = {"learning_vision_adapter": FOREIGN, "learning_feedback_adapter": FOREIGN}
        return {**adapters, "scene": self.site.directory, "worker_concurrency": 2, "worker_backoff_seconds": LATE_SECONDS}

    def start(self, **settings: Value) -> LiveFleet:
        return self.site.start_with({**self.settings(), **settings})

    def check(self) -> str:
        """Run `check` with the settings of this service, and return its report."""
        values = as_variables({**self.site.settings(), **self.settings()})
        done = run_command(self.site.directory, values, "check", timeout_seconds=CHECK_SECONDS)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def until_called(self, case: Case) -> None:
        until(lambda: self.scene.calls(case.mark), what=f"a call for {case.name}")

    def now(self) -> datetime:
        """Return the time of the database."""
        at: datetime = self.site.one(NOW)["it"]
        return at

    def waited(self, since: datetime) -> int:
        """Return the number of jobs that ended since then. The output has the longest wait."""
        row = self.site.one(WAITED, since, since)
        sys.stdout.write(f"schema of {self.year}: {row['jobs']} jobs waited, the longest {row['longest']} until its result\n")
        return int(row["jobs"])

    # Other duties

    def ask_for_duties(self) -> UUID | None:
        """Enter one of each duty. Return the submission of the course that is to be deleted."""
        if self.year == 2025:
            return None
        (submission_id,) = self.hand_in(1)
        self.delete_course_of(submission_id)
        for duty in DUTIES:
            self.site.owner.execute("insert into other_duties (duty) values (%s)", [duty])
        return submission_id

    def delete_course_of(self, submission_id: UUID) -> None:
        """Ask for the deletion of a course that has this submission alone."""
        course_id = uuid4()
        self.site.owner.execute("update learning_submissions set course_id = %s where id = %s", [course_id, submission_id])
        self.site.owner.execute(DELETION, [course_id])

    def until_duties_are_done(self) -> None:
        if self.year > 2025:
            until(lambda: self.site.one(DONE)["it"], what="the end of all other duties")


@pytest.fixture(params=YEARS)
def place(cluster_dsn: str, fleets_simulator: SimulatorProcess, request: pytest.FixtureRequest) -> Iterator[Place]:
    year: Year = request.param
    with temporary_database(cluster_dsn, year=year) as database, open_site(database, fleets_simulator) as site:
        site.owner.execute(LATER)
        if year > 2025:
            with psycopg.connect(database.admin_dsn, autocommit=True) as owner:
                install_duties(owner)
        yield Place(year, site, Scene(site.directory), cases_of(year))
        assert unreadable_results(site.owner) == []


def cases_of(year: Year) -> Iterator[Case]:
    """Yield works of every kind that both workers do, in turn."""
    for ending in Ending:
        yield from (Case(work, year, Adapter.FOREIGN, ending) for work in WORKS[year] if work is not Work.PROGRAM)


@dataclass(frozen=True, slots=True)
class Steps:
    """The numbered steps of a section of the page."""

    texts: tuple[str, ...]

    @classmethod
    def of(cls, heading: str) -> "Steps":
        section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        return cls(tuple(STEP.findall(section)))

    def sql(self, number: int) -> LiteralString:
        (statement,) = SQL.findall(self.texts[number - 1])
        return cast("LiteralString", statement.strip().rstrip(";"))

    def commands(self) -> list[str]:
        return COMMAND.findall("".join(self.texts))


def assert_done_once(
    place: Place, handed_in: Mapping[UUID, Case], twice: Mapping[UUID, Case], *, reads_again: bool = False
) -> None:
    """Each submission has one result. No call was made twice, but the first one of those that were in work.

    With `reads_again` a page that was read before the change may be read again, as the platform's worker does.
    """
    place.site.until_done_once([*handed_in, *twice])
    for case in handed_in.values():
        assert place.scene.calls(case.mark) in ([*case.steps], ["vision", *case.steps] if reads_again else None)
    for case in twice.values():
        assert place.scene.calls(case.mark) == [case.steps[0], *case.steps]
    assert {row["analysis_status"] for row in place.site.all("select analysis_status from learning_submissions")} == {"completed"}
    assert place.site.jobs() == []


@pytest.mark.parametrize("is_given_back", [True, pytest.param(False, marks=pytest.mark.second_tier)])
def test_the_steps_to_this_service(place: Place, is_given_back: bool) -> None:
    """Jobs done, in work and queued at the change-over, and those handed in meanwhile, end once. Without step 4 the one in work
    waits for the end of its lease, which is counted.
    """
    steps = Steps.of(THERE)
    assert (len(steps.texts), steps.commands()) == (7, ["check", "start", "status"])
    platform = place.start_platform(WORKER_LEASE_SECONDS=str(LATE_SECONDS if is_given_back else SOON_SECONDS / 4))
    handed_in = place.hand_in(5)
    place.site.until_done(list(handed_in))
    in_work, case = place.hand_in_with("hang", "feedback")
    place.until_called(case)
    handed_in |= place.hand_in(5)
    deleted = place.ask_for_duties()

    assert f"database schema of {'2025-12' if place.year == 2025 else 2026}" in place.check()  # step 1
    queued = 5 + (deleted is not None)
    assert {row["status"]: row["count"] for row in place.site.all(steps.sql(2))} == {"leased": 1, "queued": queued}
    stopped_at = place.now()
    platform.stop()  # step 3
    handed_in |= place.hand_in(2)
    if is_given_back:
        assert place.site.owner.execute(steps.sql(4)).rowcount == 1
    place.start_duties()  # step 5
    place.until_duties_are_done()
    fleet = place.start()  # step 6

    assert_done_once(place, handed_in, {in_work: case})
    assert place.waited(stopped_at) == 8  # one in work, five queued, two that came later
    fleet.until_idle()
    fleet.until_state("ok")  # step 7
    assert place.site.one(COUNTS, in_work) == {"expiries": None if is_given_back else 1, "crashes": None}
    assert len(place.site.leases(*handed_in, in_work)) == len(handed_in) + 2
    assert place.site.one(PLATFORM_LEASES)["n"] == 6  # those before step 3
    assert deleted not in place.site.results()


def test_the_steps_back_to_the_platforms_worker(place: Place) -> None:
    """Jobs done, in work, queued and waiting for a retry at the change back, and those handed in meanwhile, end once. The waiting
    one is taken early.
    """
    steps = Steps.of(BACK)
    assert len(steps.texts) == 5
    duties, fleet = place.start_duties(), place.start(drain_timeout_seconds=1)
    handed_in = place.hand_in(5)
    place.site.until_done(list(handed_in))
    waiting, refused = place.hand_in_with("transient", "vision")
    until(lambda: place.site.all(WAITS, waiting) == [{"it": True}], what="a job that waits")
    due_at = place.site.job(waiting)["visible_at"]
    in_work, case = place.hand_in_with("hang", "feedback")
    place.until_called(case)
    handed_in |= place.hand_in(5)

    assert place.site.one(steps.sql(1)) == {"count": 0}
    stopped_at = place.now()
    assert fleet.stop() == TEMPFAIL  # step 2: a call was longer than the drain
    handed_in |= place.hand_in(2)
    deleted = place.ask_for_duties()
    place.until_duties_are_done()
    assert place.site.one(steps.sql(3)) == {"count": 0}
    assert place.site.one(PLATFORM_LEASES)["n"] == 0
    if duties:
        duties.stop()  # step 4
    place.start_platform()  # step 5

    assert_done_once(place, handed_in, {in_work: case, waiting: refused}, reads_again=True)
    assert 4 <= place.waited(stopped_at) <= 9  # one in work, one that waited, two that came later, and the queued ones
    assert place.site.one(FIRST_LEASE, waiting)["it"] < due_at
    assert deleted not in place.site.results()


@pytest.mark.parametrize("place", [2026], indirect=True)
def test_a_course_that_is_deleted_during_its_job_takes_the_job_along(place: Place) -> None:
    """The deletion does not wait for the call. The result is dropped, and the fleet goes on."""
    fleet = place.start()
    deleted, case = place.hand_in_with("hang", "feedback")
    place.until_called(case)
    place.delete_course_of(deleted)
    place.start_duties()
    place.until_duties_are_done()
    place.scene.release(case.mark)
    fleet.until_logged("settled")
    assert [line["outcome"] for line in fleet.logged("settled")] == ["lease_lost"]
    place.site.until_done_once(list(place.hand_in(2)))


@pytest.mark.second_tier
@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_job_that_outlasts_the_lease_of_the_platforms_worker_is_done_twice(place: Place, is_guarded: bool) -> None:
    """Side by side, this service takes it over. Only the guard prevents a second result of the platform's worker."""
    if is_guarded:
        place.site.owner.execute(GUARD)
    place.start_platform(WORKER_LEASE_SECONDS=str(SOON_SECONDS / 4))
    submission_id, case = place.hand_in_with("hang", "feedback")
    place.until_called(case)
    fleet = place.start()
    place.site.until_done_once([submission_id])
    assert fleet.stop() == 0
    place.scene.release(case.mark)
    place.site.until_done(list(place.hand_in(1)))
    assert place.scene.calls(case.mark) == ["feedback", "feedback"]
    assert place.site.results().count(submission_id) == (1 if is_guarded else 2)
