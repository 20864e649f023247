"""Messages of the status, made from the scoreboard and the monitor's state."""

import time

from supervisor.monitor.state import MonitorState
from supervisor.monitor.status import STALE_SECONDS, summary
from worker.ipc.scoreboard import Scoreboard


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


def test_an_outage_names_its_duration() -> None:
    """It counts from the last successful poll. Without one the message has no duration."""
    polled = MonitorState(outage="OperationalError", polled_at_seconds=time.monotonic() - 9 * 60 - 30)
    assert "cannot be reached (OperationalError), for 9 min now." in summary(Scoreboard(), polled)[1]
    assert "cannot be reached (OperationalError)." in summary(Scoreboard(), MonitorState(outage="OperationalError"))[1]
