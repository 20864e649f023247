"""Messages of the status, made from the scoreboard and the monitor's state."""

import signal
import subprocess
import time
from uuid import UUID

import pytest

from supervisor.core.fleet import SlotState
from supervisor.event_log import EventLog
from supervisor.monitor.outages import lost_by_workers, lost_by_workers_in_short
from supervisor.monitor.progress import EARLY_PART, ProgressPolicy, Watch
from supervisor.monitor.progress_watch import HANDOVER_SECONDS, ProgressWatch
from supervisor.monitor.queue.requests import DatabaseRequests
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from supervisor.monitor.status import HEARTBEAT_LATE_SECONDS, STALE_SECONDS, summary
from testkit.waiting import until
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import FleetRecord, LedgerRecord, ProgressRecord, Scoreboard, WorkerRecord


def watching(
    board: Scoreboard, *, beat_ago_seconds: float, woke_ago_seconds: float = 3600.0, sampled_ago_seconds: float = 0.5
) -> str:
    """Return the state of a healthy instance whose supervisor wrote its last heartbeat so long ago."""
    now = time.monotonic()
    board.fleet.write(FleetRecord(1, heartbeat_seconds=now - beat_ago_seconds))
    board.ledgers[0].write(LedgerRecord(SlotState.RUNNING, pid=1, starts=1))
    board.write_worker(0, WorkerRecord(1, Activity.IDLE))
    state = MonitorState(is_connected=True, polled_at_seconds=now, supervisor_pid=4711)
    state.progress.watch = Watch(now - sampled_ago_seconds, woke_at_seconds=now - woke_ago_seconds)
    current, message = summary(board, state)
    assert ("process 4711" in message) is (current == "down")
    return current


def test_a_supervisor_without_a_heartbeat_is_down() -> None:
    """A heartbeat of the last tick is well, and one that is late by some seconds is not."""
    assert watching(Scoreboard(), beat_ago_seconds=1.0) == "ok"
    assert watching(Scoreboard(), beat_ago_seconds=HEARTBEAT_LATE_SECONDS + 1) == "down"


def test_a_host_that_was_suspended_gives_no_alarm_about_the_supervisor() -> None:
    """Before the monitor has noticed its own suspension, and for some seconds after it."""
    late = HEARTBEAT_LATE_SECONDS + 100
    assert watching(Scoreboard(), beat_ago_seconds=late, sampled_ago_seconds=100) == "ok"
    assert watching(Scoreboard(), beat_ago_seconds=late, woke_ago_seconds=1) == "ok"
    assert watching(Scoreboard(), beat_ago_seconds=late, woke_ago_seconds=HEARTBEAT_LATE_SECONDS + 1) == "down"


def test_a_database_that_has_just_answered_is_not_stale() -> None:
    """After a long outage the last poll is old. The first answer resets its time, before the new poll is complete."""
    state = MonitorState(outage="OperationalError", polled_at_seconds=time.monotonic() - 2 * STALE_SECONDS)
    before = summary(Scoreboard(), state)[1]
    state.mark_connected(time.monotonic())
    after = summary(Scoreboard(), state)[1]
    assert ("database" in before, "database" in after) == (True, False)


def test_a_database_without_rights_differs_from_an_unreachable_one() -> None:
    """A refusal points to rights and locks, an unreachable database to the server and the network."""
    refused, absent = MonitorState(outage="LockNotAvailable", has_error_reply=True), MonitorState(outage="OperationalError")
    (state, message), (other_state, other_message) = summary(Scoreboard(), refused), summary(Scoreboard(), absent)
    assert (state, other_state) == ("down", "down")
    assert "answers, but does not let the service use the queue (LockNotAvailable)" in message
    assert "cannot be reached (OperationalError)" in other_message


def test_a_right_that_the_workers_lack_has_its_own_remedy() -> None:
    """Neither the disk nor a trigger is at fault."""
    words = [
        lost_by_workers("InsufficientPrivilege", "worker@host/db"),
        lost_by_workers_in_short("InsufficientPrivilege"),
        lost_by_workers("DiskFull", ""),
    ]
    assert ["check` names the missing right" in each for each in words] == [True, True, False]


def test_an_outage_names_its_duration() -> None:
    """It counts from the last successful poll, or from the first try. Before that the message has no duration."""
    polled = MonitorState(outage="OperationalError", polled_at_seconds=time.monotonic() - 9 * 60 - 30)
    assert "cannot be reached (OperationalError), for 9 min now." in summary(Scoreboard(), polled)[1]
    never = MonitorState()
    assert "cannot be reached (not connected yet)." in summary(Scoreboard(), never)[1]
    for ago_seconds in (130.0, 5.0):
        never.mark_lost("OperationalError", time.monotonic() - ago_seconds, has_error_reply=False)
    assert "cannot be reached (OperationalError), for 2 min now." in summary(Scoreboard(), never)[1]


@pytest.mark.parametrize(
    ("outage", "remedy"),
    [
        ("InvalidPassword", "Correct the password in LEARNING_DATABASE_URL"),
        ("TooManyConnections", "Raise max_connections"),
        ("DescriptorsExhausted", "Raise the limit of open files"),
        ("NameLookupTimeout", "Repair the name servers"),
        ("AdminShutdown", "look for a full disk"),
        ("DiskFull", "look for a full disk"),
    ],
)
def test_workers_without_a_connection_are_not_a_full_disk(outage: str, remedy: str) -> None:
    """The monitor keeps its connection when a password changes. The remedy is that of the class."""
    board = Scoreboard()
    board.fleet.write(FleetRecord(1))
    board.ledgers[0].write(LedgerRecord(SlotState.RUNNING, pid=1, starts=1))
    state = MonitorState(database_address="role pupil at db")
    state.mark_connected(time.monotonic())
    state.mark_worker_lost(0, outage, time.monotonic())
    name, message = summary(board, state)
    assert name == "degraded"
    assert outage in message
    assert remedy in message


def test_a_standstill_outlives_the_monitor() -> None:
    """A new monitor continues the watch of the one before, so that a crash of the monitor hides no standstill."""
    board, now = Scoreboard(), time.monotonic()
    board.progress.write(ProgressRecord(now - 2, now - 5000, 3.0))
    state = MonitorState()
    ProgressWatch(board, state, DatabaseRequests(), Waker(board, []), EventLog("ERROR", lambda _: None))
    assert (state.progress.watch.since_seconds, state.progress.watch.excused_seconds) == (now - 5000, 3.0)
    board.progress.write(ProgressRecord(now - 2 * HANDOVER_SECONDS, now - 5000))
    late = MonitorState()
    ProgressWatch(board, late, DatabaseRequests(), Waker(board, []), EventLog("ERROR", lambda _: None))
    assert late.progress.watch == Watch()


def standing(part: float) -> tuple[Scoreboard, MonitorState]:
    """Return an instance whose only worker has waited for a permit for this part of the longest step."""
    board, now = Scoreboard(), time.monotonic()
    board.fleet.write(FleetRecord(1, heartbeat_seconds=now))
    board.ledgers[0].write(LedgerRecord(SlotState.RUNNING, pid=1, starts=1))
    board.write_worker(0, WorkerRecord(1, Activity.PERMIT))
    state = MonitorState(is_connected=True, is_waiting=True, polled_at_seconds=now)
    since_seconds = now - part * ProgressPolicy().longest_step_seconds
    state.progress.watch = Watch(now, since_seconds=since_seconds, worked_at_seconds=now)
    return board, state


def test_a_refused_row_hides_no_standstill() -> None:
    """A fault that concerns all submissions comes before one of a single job, which may last for days."""
    for part, expected in ((EARLY_PART + 0.05, "Nothing has moved forward"), (0.1, "The database refuses to change 1 job")):
        board, state = standing(part)
        state.refused_rows.add(UUID(int=1), "23514", time.monotonic())
        assert summary(board, state)[1].startswith(expected)


def test_a_standstill_for_an_unresolved_name_points_to_the_name_servers() -> None:
    """The remedy of the standstill is that of its cause, before and after the longest step."""
    for part in (0.1, 1.1):
        board, state = standing(part)
        state.mark_worker_lost(0, "NameLookupTimeout", time.monotonic())
        message = summary(board, state)[1]
        assert ("Nothing has moved forward" in message) is (part > 1)
        assert "name servers" in message
        assert "Check the database" not in message


def test_a_standstill_of_stopped_workers_blames_neither_model_nor_database() -> None:
    """Before and after the longest step the message names the stopped process and the command that continues it."""
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGSTOP)
        for part, expected in ((0.1, "Suspended by a signal"), (1.1, "Nothing has moved forward")):
            board, state = standing(part)
            board.ledgers[0].write(LedgerRecord(SlotState.RUNNING, pid=process.pid, starts=1))
            until(lambda: is_noticed(state, process.pid))  # noqa: B023
            message = summary(board, state)[1]
            assert message.startswith(expected)
            assert f"`kill -CONT {process.pid}`" in message
            assert "Ollama" not in message
            assert ("1 worker: 1 suspended" in message) is (part > 1)
        process.kill()


def is_noticed(state: MonitorState, pid: int) -> bool:
    state.suspensions.sample([pid], time.monotonic())
    return state.suspensions.since_seconds(pid) is not None
