"""Permits of one host, as sockets: the wait for one that is given back in the instant of the timeout."""

import os
import threading

import pytest

from worker.queue import host_permits

KEY = os.getpid()  # another run of the tests on this machine has other permits
TIMEOUT_SECONDS = 0.002


@pytest.mark.parametrize("count", [300, pytest.param(3_000, marks=pytest.mark.second_tier)])
def test_a_permit_that_is_given_back_in_the_instant_of_the_timeout(count: int) -> None:
    """The wait returns the permit or nothing, and then the permit is free: it is never held by a waiter that does not know."""
    for number in range(count):
        held = host_permits.take(KEY, 1)
        assert held is not None
        giver = threading.Timer(TIMEOUT_SECONDS * (0.7 + 0.6 * number / count), held.close)
        giver.start()
        taken = host_permits.wait(KEY, 1, TIMEOUT_SECONDS)
        giver.join()
        free = host_permits.take(KEY, 1)
        assert (taken is None) is (free is not None)
        for permit in (taken, free):
            if permit is not None:
                permit.close()
