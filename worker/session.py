"""The worker's database connection across outages: a request is repeated on new connections until it has a result."""

import math
import time
from collections.abc import Callable
from typing import TypeVar

from worker.ipc.backoff import doubling, jittered
from worker.ipc.contract import Activity, EventKind
from worker.ipc.descriptors import opening, unshared
from worker.queue.connection import Connection, DatabaseUnavailable, RowRefused, check_open, outages_named
from worker.report import Report
from worker.wakeups import Wakeups

CONNECT_DEADLINE_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 5.0
SUSPECT_SECONDS = 30.0  # so long a job is held whose row may be the only one that is refused, while other jobs wait

T = TypeVar("T")


class Stopped(Exception):
    """The worker was asked to leave while it had neither a connection nor a job."""


class LeaseRanOut(Exception):
    """The lease ended before the request had a result, or the row was refused for too long: other jobs may wait for this worker.

    `suspect` is the SQLSTATE of the last refusal, if there was a connection.
    """

    def __init__(self, suspect: str = "") -> None:
        super().__init__(suspect)
        self.suspect = suspect


def never() -> bool:
    """Suspect no row: every request of the same kind may fail for the same reason."""
    return False


def always() -> bool:
    """Suspect the row at its first refusal: the caller tries other rows then."""
    return True


class Session:
    """One connection at a time. The waits have jitter, so that the workers do not all reconnect at the same moment."""

    def __init__(self, connect: Callable[[], Connection], report: Report, wakeups: Wakeups) -> None:
        self._connect, self._report, self._wakeups = connect, report, wakeups
        self._connection: Connection | None = None

    def ask(
        self,
        first: Callable[[Connection], T],
        after_reconnect: Callable[[Connection], T] | None = None,
        until_seconds: float = math.inf,
        is_of_row: Callable[[], bool] = never,
    ) -> T:
        """The result of `first`, or of `after_reconnect` if the connection broke while `first` ran and may have committed.

        Without `after_reconnect`, `first` is repeated: it must be fenced, or have no effect.
        After an error that may be the row's fault, `is_of_row` decides: then it raises RowRefused, otherwise it repeats.
        Raises LeaseRanOut after `until_seconds` (monotonic), and after SUSPECT_SECONDS of errors that may be the row's fault.
        Raises Stopped if asked to stop without a lease, UnsuitableDatabase.
        """
        activity, next_try, failures, suspected_at_seconds = self._report.activity, first, 0, math.inf
        while True:
            try:
                with outages_named():
                    connection = self._open(activity)
                    # only a try that reached an open connection can have committed
                    this_try, next_try = next_try, after_reconnect or first
                    return this_try(connection)
            except DatabaseUnavailable as outage:
                self._lose(outage, is_of_row)
                suspect = outage.suspect
            suspected_at_seconds = min(suspected_at_seconds, time.monotonic()) if suspect else math.inf
            give_up_at_seconds = suspected_at_seconds + SUSPECT_SECONDS if until_seconds < math.inf else math.inf
            wait_seconds = doubling(FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS, failures)
            self._wait(wait_seconds, min(until_seconds, give_up_at_seconds), suspect)
            failures += 1

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, activity: Activity) -> Connection:
        """The open connection, or a new one. After connecting, the worker returns to `activity`."""
        if self._connection is None or self._connection.closed:
            self._report.enter_activity(Activity.CONNECT, CONNECT_DEADLINE_SECONDS)
            with opening():
                self._connection = unshared(self._connect())
            self._report.set_connected(self._connection.info.backend_pid)
            self._report.enter_activity(activity, CONNECT_DEADLINE_SECONDS)
        else:
            check_open(self._connection)
        return self._connection

    def _lose(self, outage: DatabaseUnavailable, is_of_row: Callable[[], bool]) -> None:
        """Closes the connection. Raises RowRefused if the error is the row's fault, which is no loss of the connection."""
        self.close()
        if outage.suspect and is_of_row():
            raise RowRefused(outage.suspect) from outage
        self._report.send(EventKind.CONNECTION_LOST, error_class=str(outage))

    def _wait(self, wait_seconds: float, until_seconds: float, suspect: str) -> None:
        """Waits before the next try. A wake-up does not shorten it: the server notices a closed connection within 50 ms, and the
        statement on it may commit until then.
        """
        if time.monotonic() >= until_seconds:
            raise LeaseRanOut(suspect)
        next_at_seconds = time.monotonic() + jittered(wait_seconds)
        while (left_seconds := next_at_seconds - time.monotonic()) > 0:
            if self._wakeups.is_leaving and until_seconds == math.inf:
                raise Stopped
            self._wakeups.wait(left_seconds)
