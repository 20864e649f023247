"""What the sentence says of the database, from what the monitor knows."""

import time

from supervisor.monitor.state import MonitorState
from supervisor.monitor.status import STALE_SECONDS, verdict
from worker.ipc.scoreboard import Scoreboard


def test_a_database_that_has_just_answered_is_not_silent() -> None:
    """After a long outage the last look is old; the first answer counts, before the rest of the look is done."""
    sight = MonitorState(outage="OperationalError", looked_at_seconds=time.monotonic() - 2 * STALE_SECONDS)
    before = verdict(Scoreboard(), sight)[1]
    sight.connect(time.monotonic())
    after = verdict(Scoreboard(), sight)[1]
    assert ("database" in before, "database" in after) == (True, False)


def test_a_refusal_is_told_from_an_absence() -> None:
    """Who is refused looks at rights and locks, who reaches nobody at server and network."""
    refused, absent = MonitorState(outage="LockNotAvailable", is_refused=True), MonitorState(outage="OperationalError")
    (state, sentence), (other_state, other_sentence) = verdict(Scoreboard(), refused), verdict(Scoreboard(), absent)
    assert (state, other_state) == ("down", "down")
    assert "answers, but refuses the queue (LockNotAvailable)" in sentence
    assert "cannot be reached (OperationalError)" in other_sentence
