"""The worker's database connection across outages: a request is repeated on new connections until it has a result."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from worker.core.platform import PLATFORM_OF_2025, Platform
from worker.ipc.backoff import doubling, jittered
from worker.ipc.contract import Activity, EventKind
from worker.ipc.descriptors import opening, unshared
from worker.queue.connection import Connection, DatabaseUnavailable, RowRefused, check_open, outages_named
from worker.queue.platform_probe import MIGRATION_SIGNS, forget, platform_of
from worker.report import Report
from worker.wakeups import Wakeups

CONNECT_DEADLINE_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 5.0
PROBE_EVERY_SECONDS = 60.0  # a migration that only adds causes no error, and its jobs would stay queued
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


@dataclass(slots=True)
class _Failures:
    """The failed tries of one request, and the end of its tries.

    `suspect` is the SQLSTATE of the last failure, if the row may be at fault.
    """

    until_seconds: float  # end of the lease, infinite without one
    suspect_until_seconds: float  # of the tries after an error that may be the row's fault
    count: int = 0
    suspect: str = ""
    suspected_at_seconds: float = math.inf

    def add(self, suspect: str, now_seconds: float) -> None:
        self.count += 1
        self.suspect = suspect
        self.suspected_at_seconds = min(self.suspected_at_seconds, now_seconds) if suspect else math.inf

    @property
    def have_end(self) -> bool:
        return self.until_seconds < math.inf

    @property
    def end_at_seconds(self) -> float:
        """Without a lease no other job waits for this one, so the tries go on."""
        if not self.have_end:
            return math.inf
        suspect_end_at_seconds = min(self.suspected_at_seconds + SUSPECT_SECONDS, self.suspect_until_seconds)
        return min(self.until_seconds, suspect_end_at_seconds if self.suspect else math.inf)

    @property
    def wait_seconds(self) -> float:
        return doubling(FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS, self.count - 1)


class Session:
    """One connection at a time. The waits have jitter, so that the workers do not all reconnect at the same moment.

    `platform`: the features of the database, read with each connection. A request of `ask` that reads it while it runs has those
    of its own connection.
    """

    def __init__(self, connect: Callable[[], Connection], report: Report, wakeups: Wakeups) -> None:
        self._connect, self._report, self._wakeups = connect, report, wakeups
        self._connection: Connection | None = None
        self._probed_at_seconds = -math.inf
        self.platform: Platform = PLATFORM_OF_2025

    def ask(
        self,
        first: Callable[[Connection], T],
        after_reconnect: Callable[[Connection], T] | None = None,
        until_seconds: float = math.inf,
        is_of_row: Callable[[], bool] = never,
        suspect_until_seconds: float = math.inf,
    ) -> T:
        """The result of `first`, or of `after_reconnect` if the connection broke while `first` ran and may have committed.

        Without `after_reconnect`, `first` is repeated: it must be fenced, or have no effect.
        After an error that may be the row's fault, `is_of_row` decides: then it raises RowRefused, otherwise it repeats.
        Raises LeaseRanOut after `until_seconds` (monotonic). While errors may be the row's fault, also after SUSPECT_SECONDS and
        after `suspect_until_seconds`.
        Raises Stopped if asked to stop without a lease, UnsuitableDatabase.
        """
        activity, next_try, failures = self._report.activity, first, _Failures(until_seconds, suspect_until_seconds)
        while True:
            try:
                with outages_named():
                    connection = self._open(activity)
                    # only a try that reached an open connection can have committed
                    this_try, next_try = next_try, after_reconnect or first
                    return this_try(connection)
            except RowRefused as refusal:
                self.note_refusal(refusal.sqlstate)
                raise
            except DatabaseUnavailable as outage:
                self._lose(outage, is_of_row)
                failures.add(outage.suspect, time.monotonic())
            self._wait(failures)

    def connect(self) -> None:
        """Opens the connection if there is none, and reads the features if that is due. Raises Stopped, UnsuitableDatabase."""
        self.ask(lambda _: None)

    def note_refusal(self, sqlstate: str) -> None:
        """Reads the features again before the next request, if the refusal may be the sign of a migration."""
        if sqlstate in MIGRATION_SIGNS:
            self._probed_at_seconds = -math.inf

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
            self._probed_at_seconds = -math.inf
        else:
            check_open(self._connection)
        self._probe(self._connection)
        return self._connection

    def _probe(self, connection: Connection) -> None:
        """Reads the features of a new connection, and again from time to time and after signs of a migration."""
        now_seconds = time.monotonic()
        if now_seconds >= self._probed_at_seconds + PROBE_EVERY_SECONDS:
            forget(connection)
            self.platform, self._probed_at_seconds = platform_of(connection), now_seconds

    def _lose(self, outage: DatabaseUnavailable, is_of_row: Callable[[], bool]) -> None:
        """Closes the connection. Raises RowRefused if the error is the row's fault, which is no loss of the connection."""
        self.close()
        if outage.suspect and is_of_row():
            raise RowRefused(outage.suspect) from outage
        self._report.send(EventKind.CONNECTION_LOST, error_class=str(outage))

    def _wait(self, failures: _Failures) -> None:
        """Waits before the next try. A wake-up does not shorten it: the server notices a closed connection within 50 ms, and the
        statement on it may commit until then.
        """
        if time.monotonic() >= failures.end_at_seconds:
            raise LeaseRanOut(failures.suspect)
        next_at_seconds = time.monotonic() + jittered(failures.wait_seconds)
        while (left_seconds := next_at_seconds - time.monotonic()) > 0:
            if self._wakeups.is_leaving and not failures.have_end:
                raise Stopped
            self._wakeups.wait(left_seconds)
