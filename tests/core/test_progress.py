"""The watch of the progress with a fake clock: each way to stand still is found, and nothing else is called one."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from supervisor.monitor.progress import ModelCalls, ProgressPolicy, Severity, Standstill, Watch, WorkFacts, sampled, standstill
from supervisor.monitor.progress import standing_seconds as standing_of

MODEL = "words"
LONGEST, EARLY, EXCUSE, FIRST_TOKEN = 80.0, 60.0, 200.0, 24.0
POLICY = ProgressPolicy(LONGEST, EXCUSE, {MODEL: FIRST_TOKEN})
BEGIN = 1000.0
CALLS = ModelCalls(MODEL, None, 0.0, None)


@dataclass
class School:
    """A watch that samples each second. Its facts are changed between the samples."""

    now: float = BEGIN
    facts: WorkFacts = field(default_factory=lambda: WorkFacts(BEGIN, 0.0, has_work=True, calls=(CALLS,)))
    watch: Watch = field(default_factory=Watch)

    def pass_time(self, seconds: float, each_second: Callable[[], None] = lambda: None) -> "School":
        for _ in range(round(seconds)):
            self.now += 1.0
            each_second()
            self.sample()
        return self

    def sample(self) -> None:
        self.facts = replace(self.facts, now_seconds=self.now)
        self.watch = sampled(self.watch, self.facts, POLICY)

    def set(self, **facts: object) -> "School":
        self.facts = replace(self.facts, **facts)  # type: ignore[arg-type]
        return self

    def call(self, **calls: object) -> "School":
        (before,) = self.facts.calls
        return self.set(calls=(replace(before, **calls),))  # type: ignore[arg-type]

    def advance(self) -> None:
        self.set(advanced_at_seconds=self.now)

    @property
    def found(self) -> Standstill | None:
        return standstill(self.watch, replace(self.facts, now_seconds=self.now), POLICY)

    @property
    def severity(self) -> Severity | None:
        return self.found.severity if self.found else None


@pytest.fixture
def school() -> School:
    opened = School()
    opened.sample()
    return opened


def test_nothing_moves_while_work_waits(school: School) -> None:
    """Degraded after three quarters of the longest step, down after the whole, since the last progress."""
    assert school.pass_time(EARLY).severity is None
    assert school.pass_time(1).severity is Severity.EARLY
    assert school.pass_time(LONGEST - EARLY - 1).severity is Severity.EARLY
    assert school.pass_time(1).found == Standstill(Severity.LONG, BEGIN)


def test_any_progress_begins_anew(school: School) -> None:
    """A token, a page or the end of a job ends a standstill at once, without waiting for the next sample."""
    assert school.pass_time(LONGEST + 1).severity is Severity.LONG
    school.advance()
    assert school.severity is None
    assert school.pass_time(EARLY).severity is None
    assert school.pass_time(1).severity is Severity.EARLY


def test_an_idle_school_is_well(school: School) -> None:
    """Hours without work are no standstill, and the first job after them has the whole time."""
    school.set(has_work=False, is_idle=True, advanced_at_seconds=BEGIN).pass_time(7200)
    assert (school.severity, standing_of(school.watch, school.facts)) == (None, 0.0)
    assert school.set(has_work=True, is_idle=False).pass_time(EARLY).severity is None
    assert school.pass_time(LONGEST - EARLY + 1).severity is Severity.LONG


def test_work_that_blinks_is_work(school: School) -> None:
    """A replaced worker gives its job back, and a moment passes until a poll finds it: the standstill goes on."""
    for _ in range(round(LONGEST) // 4 + 1):
        school.set(has_work=True).pass_time(2)
        school.set(has_work=False).pass_time(2)
    assert school.severity is Severity.LONG


def test_delayed_jobs_are_no_work(school: School) -> None:
    """A job that is queued for later does not wait: with no other work nothing stands still."""
    assert school.set(has_work=False, is_idle=False).pass_time(10 * LONGEST).severity is None


def test_a_suspended_host_gives_no_alarm(school: School) -> None:
    """After a gap between two samples the watch begins anew, whatever the age of the last progress is."""
    school.pass_time(10)
    school.now += 3600
    school.sample()
    assert school.severity is None
    assert school.watch.woke_at_seconds == school.now
    assert school.pass_time(LONGEST + 1).severity is Severity.LONG


def test_a_load_explains_a_standstill_for_a_bounded_time(school: School) -> None:
    """`Short delay` for ever is a standstill too: the excuse ends, and it does not come back before the next progress."""
    assert school.set(is_excused=True).pass_time(EXCUSE + EARLY).severity is None
    assert school.pass_time(LONGEST - EARLY + 1).severity is Severity.LONG
    assert school.set(is_excused=False).pass_time(1).severity is Severity.LONG
    school.advance()
    assert school.set(is_excused=True).pass_time(EXCUSE + EARLY).severity is None


def test_time_after_a_load_counts_on(school: School) -> None:
    """The jobs have the time of a step after a long load, and no alarm is given for the load."""
    assert school.set(is_excused=True).pass_time(EXCUSE - 50).severity is None
    assert school.set(is_excused=False).pass_time(EARLY).severity is None
    assert school.pass_time(LONGEST - EARLY + 1).severity is Severity.LONG


def test_a_model_without_a_token_is_told_at_its_first_token_deadline(school: School) -> None:
    """Before any answer nothing is known of its usual time."""
    school.call(oldest_start_seconds=BEGIN)
    assert school.pass_time(FIRST_TOKEN).severity is None
    assert school.pass_time(1).found == Standstill(Severity.EARLY, BEGIN, MODEL)


@pytest.mark.parametrize(("slowest", "limit"), [(0.5, 10.0), (4.0, 16.0), (20.0, FIRST_TOKEN)])
def test_a_model_that_was_faster_is_told_earlier(school: School, slowest: float, limit: float) -> None:
    """After four times its slowest first token, at least ten seconds, at most the deadline of the first token."""
    school.call(oldest_start_seconds=BEGIN, slowest_first_token_seconds=slowest)
    assert school.pass_time(limit).severity is None
    assert school.pass_time(1).found == Standstill(Severity.EARLY, BEGIN, MODEL)


def test_calls_that_fail_again_and_again_do_not_hide_a_silent_model(school: School) -> None:
    """New calls and pauses between two retries do not move the begin."""
    for _ in range(5):
        school.call(oldest_start_seconds=school.now).pass_time(6)
        school.call(oldest_start_seconds=None).set(has_work=False).pass_time(9)
        school.set(has_work=True)
    assert school.found == Standstill(Severity.EARLY, BEGIN, MODEL)


def test_a_token_of_any_call_ends_the_silence(school: School) -> None:
    """One silent call among others that get tokens is no silent model."""
    school.call(oldest_start_seconds=BEGIN)

    def answer() -> None:
        school.call(answered_at_seconds=school.now).advance()

    assert school.pass_time(10 * FIRST_TOKEN, answer).severity is None


def test_a_model_that_answered_and_is_not_called_is_not_silent(school: School) -> None:
    """Its last token may be old while the other model works."""
    school.call(oldest_start_seconds=BEGIN).pass_time(3)
    school.call(answered_at_seconds=school.now).pass_time(2)
    school.call(oldest_start_seconds=None)
    assert school.pass_time(LONGEST - 10, school.advance).severity is None


def test_a_model_that_loads_is_not_silent(school: School) -> None:
    """A call may wait for a load, which takes minutes. Afterwards its time begins."""
    school.call(oldest_start_seconds=BEGIN, is_loading=True)
    assert school.pass_time(EARLY).severity is None


@pytest.mark.parametrize(("change", "seconds"), [({"is_idle": True}, 1), ({}, 61)], ids=["no job is left", "only delayed jobs"])
def test_a_silent_model_is_forgotten_without_work(school: School, change: dict[str, bool], seconds: int) -> None:
    """At once when no job is left, and after a minute in which jobs are only delayed."""
    school.call(oldest_start_seconds=BEGIN).pass_time(FIRST_TOKEN + 1)
    school.call(oldest_start_seconds=None)
    assert school.severity is Severity.EARLY
    assert school.set(has_work=False, **change).pass_time(seconds).severity is None


def test_renewed_calls_are_no_progress(school: School) -> None:
    """Calls that begin anew each second do not hide a standstill."""

    def renew() -> None:
        school.call(oldest_start_seconds=school.now)

    assert school.pass_time(LONGEST + 1, renew).severity is Severity.LONG
