"""Play one case: arrange what goes wrong, let workers end the job, and collect what was written."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, LiteralString
from uuid import UUID

from testkit.bare_worker import BareWorker
from testkit.filled_queue import CLEAR
from testkit.pg_proxy import Strike
from testkit.platform.case import Adapter, Case, Ending, Work
from testkit.platform.entry import enter
from testkit.platform.room import LIMIT_SECONDS, Room
from testkit.readers import unreadable_results
from testkit.school import FEEDBACK_MODEL, VISION_MODEL, is_idle
from testkit.waiting import until
from worker.ipc.contract import Activity

ALWAYS: Final = 100
LOOKS: Final = 3  # at a job that is left queued
ROUNDS: Final = 5  # of a job, more than it has retries
STATEMENTS: Final = {  # a part of the statement at which a worker is killed, and whether that is committed
    Ending.KILLED_READING: ("internal_metadata", False),
    Ending.KILLED_CHECKPOINT: ("'cached_text_md', $", False),
    Ending.KILLED_SETTLING: ("select public.learning_worker_update_completed(", False),
    Ending.KILLED_SETTLED: ("select public.learning_worker_update_completed(", True),
}
CLEAR_2026: Final[LiteralString] = "truncate unit_tasks, courses, practice_session_items, practice_states cascade"
ATTEMPT: Final[LiteralString] = """
    select attempt.status as attempt, item.status as item
    from practice_attempts as attempt join practice_session_items as item on item.id = attempt.item_id
    where attempt.submission_id = %s
"""
WORDS: Final = {"transient": ["transient"], "permanent": ["permanent"] * ALWAYS, "killed": ["hang"]}
FAULTS: Final = {  # of the simulated model server: an unusable answer, once or for ever, and one that never ends
    "transient": ("thinking_only", 1),
    "permanent": ("thinking_only", ALWAYS),
    "killed": ("hang", 1),
}


@dataclass(frozen=True, slots=True)
class Played:
    """Content of the database and of the logs of calls after the end of a case.

    `attempt`: the states of the practice attempt and of its item, if there is one. `usage`: the recorded answers of models, None
    in a schema that records none. `between` is the job after the first worker, None if it is gone. `round_trips` are those of a
    job without a fault. `has_struck`: the worker was killed where it should, or has searched the queue for a job that is left.
    """

    case: Case
    submission: dict[str, Any]
    job: dict[str, Any] | None
    between: dict[str, Any] | None
    results: list[str]
    calls: list[str]
    unreadable: list[str]
    attempt: tuple[str, str] | None = None
    usage: int | None = None
    round_trips: int | None = None
    has_struck: bool = True


def play(room: Room, case: Case) -> Played:
    """Run the case. One that does not come to its end is judged by how far it has come."""
    _clear(room, case)
    _arrange(room, case)
    submission_id = enter(room.school, case)
    before, round_trips = room.wire.round_trips, 0
    has_struck = not (case.ending.is_kill or case.ending is Ending.LEFT)
    between: dict[str, Any] | None = None
    with suppress(TimeoutError):
        has_struck = _first_worker(room, case, submission_id)
        between, round_trips = _job(room, submission_id), room.wire.round_trips - before
        _end(room, case, submission_id)
    counted = round_trips if case.ending is Ending.SUCCESS else None
    return replace(_read(room, case, submission_id), between=between, round_trips=counted, has_struck=has_struck)


def _read(room: Room, case: Case, submission_id: UUID) -> Played:
    school = room.school
    return Played(
        case,
        dict(school.submission(submission_id)),
        _job(room, submission_id),
        None,
        school.results(submission_id),
        _calls(room, case),
        unreadable_results(school.owner),
        _attempt(room, case, submission_id),
        _usage(room, case, submission_id),
    )


def _first_worker(room: Room, case: Case, submission_id: UUID) -> bool:
    """Let the first worker do its part. False if it was to be killed and has ended the job before."""
    if case.ending.is_kill:
        return _killed(room, case)
    if case.ending is Ending.LEFT:
        for _ in range(LOOKS):
            room.look()
    else:
        room.work_on(submission_id)
    return True


def _clear(room: Room, case: Case) -> None:
    room.wire.spare()
    room.school.owner.execute(CLEAR)
    if case.year > 2025:
        room.school.owner.execute(CLEAR_2026)
    room.school.simulator.clear_faults()
    room.school.simulator.reset_calls()


def _arrange(room: Room, case: Case) -> None:
    """Plan the case's error for the call in which it happens."""
    kind = case.ending.value.split()[0]
    if not case.ending.step or kind not in WORDS:
        return None
    if room.adapter is Adapter.FOREIGN:
        return room.scene.plan(case.mark, case.ending.step, WORDS[kind])
    fault, times = FAULTS[kind]
    return room.school.simulator.fault(fault, model=_model(case), times=times)


def _killed(room: Room, case: Case) -> bool:
    """Kill a worker in this case's step and reclaim its lease. False if the job ended before."""
    if statement := STATEMENTS.get(case.ending):
        part, is_committed = statement
        room.wire.strike_at(part, Strike.KILL, is_committed=is_committed)
    with room.victim() as worker:
        if statement:
            room.wire.name_victim(worker.pid)
            until(lambda: _is_struck(room, worker), LIMIT_SECONDS, f"the statement of {case.name}")
        else:
            until(lambda: _is_in_call(room, case, worker), LIMIT_SECONDS, f"the call of {case.name}")
            worker.signal(9)
        has_struck = worker.exit_status() == -9
        room.reclaim(worker)
    return has_struck


def _is_struck(room: Room, worker: BareWorker) -> bool:
    """Report whether the worker is killed. An idle one is woken, because its first search may have known fewer abilities."""
    if not room.wire.has_struck and is_idle(worker):
        worker.wake()
    return room.wire.has_struck


def _is_in_call(room: Room, case: Case, worker: BareWorker) -> bool:
    if is_idle(worker):
        worker.wake()
    is_seeing = case.sees_in == case.ending.step
    if worker.record().activity != (Activity.VISION if is_seeing else Activity.FEEDBACK):
        return False
    if room.adapter is Adapter.FOREIGN:
        return case.ending.step in room.scene.calls(case.mark)
    return room.school.is_called(_model(case))


def _model(case: Case) -> str:
    """Return the model of the call that goes wrong."""
    return VISION_MODEL if case.sees_in == case.ending.step else FEEDBACK_MODEL


def _end(room: Room, case: Case, submission_id: UUID) -> None:
    """Let the heir end the job, with all its retries. A job that is to be left is left."""
    for _ in range(ROUNDS):
        if case.ending is Ending.LEFT or room.school.is_final(submission_id):
            return
        room.hasten(submission_id)
        room.work_on(submission_id)


def _job(room: Room, submission_id: UUID) -> dict[str, Any] | None:
    rows = room.school.all("select * from learning_submission_jobs where submission_id = %s", submission_id)
    return dict(rows[0]) if rows else None


def _calls(room: Room, case: Case) -> list[str]:
    """Return the steps of all calls that were made for the case, in order."""
    if room.adapter is Adapter.FOREIGN:
        return room.scene.calls(case.mark)
    return [case.sees_in if call["has_image"] else "feedback" for call in room.school.simulator.calls() if not call["is_empty"]]


def _usage(room: Room, case: Case, submission_id: UUID) -> int | None:
    if case.year == 2025:
        return None
    return int(room.school.one("select count(*)::int as n from ai_usage_events where submission_id = %s", submission_id)["n"])


def _attempt(room: Room, case: Case, submission_id: UUID) -> tuple[str, str] | None:
    if case.work is not Work.PRACTICE:
        return None
    row = room.school.one(ATTEMPT, submission_id)
    return row["attempt"], row["item"]
