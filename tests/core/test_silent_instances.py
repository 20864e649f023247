"""Instances that were heard of and hold jobs are called silent after some polls, and no others are."""

from dataclasses import replace

from supervisor.monitor.queue.silent_instances import SILENT_SECONDS, InstanceWatch
from worker.queue.instances import InstanceRow

OWN, OTHER = "0c0ffee0", "0badcafe"
NOW, POLL = 1000.0, 0.5
LONG = SILENT_SECONDS + 5
QUIET = InstanceRow(OTHER, 2, 40.0, "10.0.0.5", LONG, is_connected=True)
GONE = replace(QUIET, quiet_seconds=None, address=None, is_connected=False)


def test_a_quiet_session_is_silent_if_its_instance_holds_jobs() -> None:
    """With the time of its last statement and the end of its leases. One that polls rarely has more time."""
    watch = InstanceWatch(OWN)
    (silent,) = watch.silent([QUIET], NOW, POLL)
    assert (silent.instance, silent.address, silent.jobs) == (OTHER, "10.0.0.5", 2)
    assert (silent.heard_at_seconds, silent.leased_until_seconds) == (NOW - LONG, NOW + 40)
    assert watch.silent([replace(QUIET, jobs=0)], NOW, POLL) == ()
    assert watch.silent([replace(QUIET, quiet_seconds=SILENT_SECONDS - 1)], NOW, POLL) == ()
    assert watch.silent([QUIET], NOW, poll_interval_seconds=60) == ()


def test_the_own_instance_is_never_silent() -> None:
    """The statement itself is a sign of life."""
    assert InstanceWatch(OTHER).silent([QUIET], NOW, POLL) == ()


def test_a_session_that_has_ended_was_heard_of_before() -> None:
    """The server ends the session of a silent host, while its leases last."""
    watch = InstanceWatch(OWN)
    watch.silent([replace(QUIET, quiet_seconds=1.0)], NOW, POLL)
    assert watch.silent([GONE], NOW + SILENT_SECONDS, POLL) == ()
    (silent,) = watch.silent([GONE], NOW + LONG, POLL)
    assert (silent.address, silent.heard_at_seconds) == ("10.0.0.5", NOW - 1.0)


def test_an_instance_without_any_session_of_its_own_is_not_judged() -> None:
    """Behind a pooler, under a role whose times are hidden, and after an outage of the database."""
    watch = InstanceWatch(OWN)
    for row in (GONE, replace(QUIET, quiet_seconds=None)):
        assert watch.silent([row], NOW, POLL) == watch.silent([row], NOW + 10 * LONG, POLL) == ()
    watch.silent([QUIET], NOW, POLL)
    watch.forget()
    assert watch.silent([GONE], NOW + LONG, POLL) == ()
