"""A pause for which a foreign adapter's provider has asked: all workers of the instance keep it, and the status has a line."""

import time

import pytest

from supervisor.core.fleet import SlotState
from supervisor.monitor.document import snapshot
from supervisor.monitor.state import MonitorState
from supervisor.monitor.status import summary
from supervisor.settings.model import parse
from worker.admission import Admission
from worker.ipc.contract import Activity, Step, Wiring
from worker.ipc.pauses import MAX_PAUSE_SECONDS, paused_until_seconds
from worker.ipc.scoreboard import FleetRecord, LedgerRecord, Scoreboard, WorkerRecord
from worker.report import Report

FOREIGN = dict.fromkeys(("LEARNING_VISION_ADAPTER", "LEARNING_FEEDBACK_ADAPTER"), "a.foreign.adapter")


def admission(board: Scoreboard, slot: int, **settings: str) -> Admission:
    given = {"LEARNING_DATABASE_URL": "postgresql://worker@host/db", **FOREIGN, **settings}
    return Admission(wiring(board, slot), parse(given).worker)


def wiring(board: Scoreboard, slot: int) -> Wiring:
    return Wiring(slot, 1, slot + 1, board, 0, 0, 0)


def pause(board: Scoreboard, step: Step) -> None:
    """Pause the step as the worker in slot 0 does."""
    Report(wiring(board, 0)).set_paused(step, admission(board, 0).pause_end_seconds(step, 30.0))


@pytest.mark.parametrize("step", Step)
def test_a_pause_holds_the_step_in_every_worker(step: Step) -> None:
    """One call learns of it. The other step goes on, and so does a worker whose adapters ask no such provider."""
    board = Scoreboard()
    first, second, ours = (
        admission(board, 0),
        admission(board, 1),
        admission(board, 2, **dict.fromkeys(FOREIGN, ""), AI_BACKEND="local"),
    )
    pause(board, step)
    assert {each: [worker.calls(each) > 0 for worker in (first, second, ours)] for each in Step} == {
        each: [each is not step, each is not step, True] for each in Step
    }


def test_a_pause_outlives_its_worker() -> None:
    """The provider has not changed its mind because a process ended."""
    board = Scoreboard()
    pause(board, Step.FEEDBACK)
    Report(wiring(board, 0))
    assert admission(board, 0).calls(Step.FEEDBACK) == 0


def test_a_damaged_record_stops_nothing_for_long() -> None:
    """A worker parses hostile files, so a pause beyond the longest one is damage."""
    board, now = Scoreboard(), time.monotonic()
    board.write_worker(0, WorkerRecord(1, Activity.IDLE, feedback_paused_until_seconds=now + MAX_PAUSE_SECONDS + 1))
    assert paused_until_seconds(board, Step.FEEDBACK, now) == 0.0


def test_the_status_names_step_code_and_time() -> None:
    """A line of its own while it lasts, and the same in the document."""
    board, now = Scoreboard(), time.monotonic()
    board.fleet.write(FleetRecord(1, heartbeat_seconds=now))
    board.ledgers[0].write(LedgerRecord(SlotState.RUNNING, pid=1, starts=1))
    state = MonitorState(is_connected=True, polled_at_seconds=now)
    board.write_worker(0, WorkerRecord(1, Activity.IDLE))
    assert summary(board, state)[0] == "ok"
    board.write_worker(0, WorkerRecord(1, Activity.IDLE, feedback_paused_until_seconds=now + 45.5))
    level, message = summary(board, state)
    assert level == "degraded"
    assert "(provider_rate_limited): feedback, for another 45 s" in message
    (limit,) = snapshot(board, state, instance=1, is_stub=False)["rate_limits"]
    assert (limit["step"], limit["code"], 40 < limit["left_seconds"] < 46) == ("feedback", "provider_rate_limited", True)
