"""The worker's connection across outages: a question is repeated on new connections until it is answered."""

import math
import random
import time
from collections.abc import Callable
from typing import TypeVar

from worker.ipc.contract import Activity, EventKind
from worker.queue.connection import Connection, DatabaseUnavailable, outages_named
from worker.report import Report
from worker.wakeups import Wakeups

CONNECT_PROMISE_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 5.0

Answer = TypeVar("Answer")


class Stopped(Exception):
    """Asked to leave while there was no database and no job in hand."""


class LeaseRanOut(Exception):
    """No database until the lease in hand had ended: somebody else may have the job now."""


class Session:
    """One connection at a time. Waits with jitter, so that workers do not come back as a herd."""

    def __init__(self, connect: Callable[[], Connection], report: Report, inbox: Wakeups) -> None:
        self._connect, self._report, self._inbox = connect, report, inbox
        self._connection: Connection | None = None

    def ask(self, question: Callable[[Connection], Answer], until_seconds: float = math.inf) -> Answer:
        """The answer, however many connections it takes. `question` must be safe to repeat: fenced, or by lease key.

        Raises LeaseRanOut after `until_seconds` (monotonic), Stopped if asked to stop without a lease, UnsuitableDatabase.
        """
        wait_seconds, activity = FIRST_WAIT_SECONDS, self._report.activity
        while True:
            try:
                with outages_named():
                    return question(self._open(activity))
            except DatabaseUnavailable as outage:
                self._lose(outage)
            self._wait(wait_seconds, until_seconds)
            wait_seconds = min(2 * wait_seconds, MAX_WAIT_SECONDS)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, activity: Activity) -> Connection:
        """`activity` is what the worker is at when it has a connection again."""
        if self._connection is None:
            self._report.enter(Activity.CONNECT, CONNECT_PROMISE_SECONDS)
            self._connection = self._connect()
            self._report.reach_database(self._connection.info.backend_pid)
            self._report.enter(activity, CONNECT_PROMISE_SECONDS)
        return self._connection

    def _lose(self, outage: DatabaseUnavailable) -> None:
        self.close()
        self._report.send(EventKind.CONNECTION_LOST, error_class=str(outage))

    def _wait(self, wait_seconds: float, until_seconds: float) -> None:
        if time.monotonic() >= until_seconds:
            raise LeaseRanOut
        if self._inbox.is_leaving and until_seconds == math.inf:
            raise Stopped
        self._inbox.wait(wait_seconds * random.uniform(0.5, 1.0))  # noqa: S311  jitter is no secret
