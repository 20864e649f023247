"""Requests to the task that owns the monitor's connection."""

from supervisor.admission.decision import AcquireModelLock
from supervisor.monitor.queue.requests import DatabaseRequests, PollSoon


def test_a_repeated_request_replaces_the_pending_one() -> None:
    """During an outage requests repeat, so the list must stay short. The latest request for the model lock comes last."""
    requests = DatabaseRequests()
    for request in (AcquireModelLock("a"), PollSoon(), AcquireModelLock(None), PollSoon(), AcquireModelLock("a")):
        requests.send(request)
    assert requests.take_all() == [AcquireModelLock(None), PollSoon(), AcquireModelLock("a")]
    assert requests.take_all() == []
