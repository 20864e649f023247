"""Waits for permits and lost permits: their numbers, the message and the lines of `status`."""

import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from supervisor.cli.status import show
from supervisor.core.fleet import SlotState
from supervisor.monitor.document import snapshot
from supervisor.monitor.queue.permit_waits import LostPermit, PermitHolder, PermitWait, SlotWait, as_bits, permit_waits
from supervisor.monitor.state import MonitorState
from supervisor.monitor.status import summary
from worker.ipc.scoreboard import MAX_CALLS, FleetRecord, LedgerRecord, PermitRecord, Scoreboard
from worker.queue.permits import NO_PERMITS, Permits

MODEL, OTHER = "gpt-oss:latest", "qwen2.5vl:3b"
WORKER = "learning-supervisor slot 1 pid 77 0c0ffee1"
HOLDER = PermitHolder(MODEL, 1, WORKER, "10.0.3.6", 4711, 14.0)


def running_board() -> Scoreboard:
    """Make a scoreboard with one running worker."""
    board = Scoreboard()
    board.fleet.write(FleetRecord(wanted=1))
    board.ledgers[0].write(LedgerRecord(state=SlotState.RUNNING, pid=77, starts=1))
    return board


def connected() -> MonitorState:
    state = MonitorState()
    state.mark_connected(time.monotonic())
    return state


def printed(document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    show([document], Path(), Console(width=200))
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("count", "lost", "numbers"),
    [
        (2, frozenset(), [1, 2]),
        (1, {1}, [2]),
        (2, {1, 3}, [2, 4]),
        (2, {9}, [1, 2]),
        (0, {1}, []),
        (MAX_CALLS, {1}, list(range(2, MAX_CALLS + 2))),
    ],
)
def test_a_lost_permit_is_replaced_by_a_higher_number(count: int, lost: set[int], numbers: list[int]) -> None:
    """The number of calls stays the same, and a lost number that is not needed changes nothing."""
    permits = Permits(1, count, frozenset(lost))
    assert permits.numbers == numbers
    assert permits.reach == max(numbers, default=0)


def test_without_permits_no_number_is_tried() -> None:
    """A stub needs none."""
    assert (NO_PERMITS.numbers, NO_PERMITS.reach) == ([], 0)


def test_waits_are_grouped_by_their_model() -> None:
    """A short wait, and one whose model is not known yet, are left out. The start is that of the longest wait."""
    waits = {
        0: SlotWait(None, 10, 7.0, MODEL),
        1: SlotWait(None, 11, 5.0, MODEL),
        2: SlotWait(None, 12, 5.0),
        3: SlotWait(None, 13, 9.0, MODEL),
    }
    other = PermitHolder(OTHER, 1, WORKER)
    assert permit_waits(waits, [HOLDER, other], 8.0) == (PermitWait(MODEL, (0, 1), 5.0, (HOLDER,)),)


def test_lost_numbers_are_bits_of_their_model() -> None:
    """The scoreboard has 64 bits for each step's model, and a higher number has no place in it."""
    lost = [
        LostPermit(PermitHolder(model, number, ""), 0.0) for model, number in [(MODEL, 1), (MODEL, 64), (MODEL, 65), (OTHER, 2)]
    ]
    assert (as_bits(lost, MODEL), as_bits(lost, OTHER), as_bits(lost, "")) == (1 << 63 | 1, 2, 0)
    board = Scoreboard()
    board.permits.write(PermitRecord(as_bits(lost, OTHER), as_bits(lost, MODEL)))
    assert board.permits.read() == PermitRecord(2, 1 << 63 | 1)


def test_an_ordinary_wait_is_shown_and_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    """A line names the waiting workers, the model, the duration, and the worker that has the call."""
    board, state = running_board(), connected()
    state.permit_waits = (PermitWait(MODEL, (0, 2), time.monotonic() - 12.5, (HOLDER,)),)
    document = snapshot(board, state, instance=1, is_stub=False)
    assert document["state"] == "ok"
    assert document["permit_waits"][0]["holders"][0]["backend_pid"] == 4711
    holder = f"{WORKER} at 10.0.3.6, server process 4711, last statement 14 s ago"
    assert f"workers 0, 2 wait for a call to {MODEL}, for 12 s now. Calls in use: {holder}" in printed(document, capsys)


def test_a_session_with_several_calls_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Its server process is named, because a session of another program often has no name."""
    state = connected()
    holders = tuple(PermitHolder(MODEL, number, "a session without a name", backend_pid=4711) for number in (1, 2))
    state.permit_waits = (PermitWait(MODEL, (0,), time.monotonic() - 12.5, holders),)
    lines = printed(snapshot(running_board(), state, instance=1, is_stub=False), capsys)
    holder = "a session without a name, server process 4711"
    assert f"worker 0 waits for a call to {MODEL}, for 12 s now. Calls in use: {holder}" in lines


def test_a_lost_permit_is_degraded() -> None:
    """The message names the model, the duration and the holder, and what to do."""
    state = connected()
    state.lost_permits = (LostPermit(HOLDER, time.monotonic() - 40.5),)
    name, message = summary(running_board(), state)
    assert name == "degraded"
    assert (
        f"One call to {MODEL} is reserved without a submission, for 40 s now: {WORKER} at 10.0.3.6, server process 4711."
        in message
    )


def test_a_document_of_an_older_service_has_no_waits(capsys: pytest.CaptureFixture[str]) -> None:
    """During an upgrade a newer `status` reads the document of a running service."""
    document = snapshot(running_board(), connected(), instance=1, is_stub=False)
    del document["permit_waits"]
    assert printed(document, capsys)
