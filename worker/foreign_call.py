"""The limit of a call to an adapter of another package, and the pause that the provider of its model asks for.

Such an adapter may have no timeout of its own. An alarm interrupts the call. The adapter's own `except TimeoutError` then ends it
as its transient error. If the adapter goes on, the alarm repeats with an exception that `except Exception` does not catch. A call
in a C library sees neither, and the supervisor ends the worker.
"""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from worker.core.faults import Fault, row_of

AGAIN_SECONDS = 2.0  # between two interruptions of one call
_MAX_CAUSES = 8  # in a chain of exceptions
_LEAST_SECONDS = 0.001  # setitimer with 0 s sets no alarm


class ForeignTimeout(TimeoutError):
    """The call took longer than its limit. The message is the platform's code, because an adapter may take it over."""

    def __init__(self) -> None:
        super().__init__("timeout")


class _Interrupted(BaseException):
    """The call goes on after a ForeignTimeout."""


class _Alarm:
    """The handler of SIGALRM during a call."""

    def __init__(self) -> None:
        self.is_active, self.has_rung = True, False

    def ring(self, _signal: int, _frame: FrameType | None) -> None:
        if not self.is_active:
            return
        is_first, self.has_rung = not self.has_rung, True
        raise ForeignTimeout if is_first else _Interrupted


@contextmanager
def limited(limit_seconds: float) -> Iterator[None]:
    """Interrupt the block after `limit_seconds`. Raises ForeignTimeout, or the transient error that the adapter makes of it.

    An interrupted call has no result, because an adapter may have put a standard sentence in its place.
    """
    alarm = _Alarm()
    before = signal.signal(signal.SIGALRM, alarm.ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, max(limit_seconds, _LEAST_SECONDS), AGAIN_SECONDS)
            yield
        finally:
            alarm.is_active = False
    except (Exception, _Interrupted) as error:
        if alarm.has_rung and not _is_transient(error):
            raise ForeignTimeout from error
        raise
    else:
        if alarm.has_rung:
            raise ForeignTimeout
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_transient(error: BaseException) -> bool:
    return row_of(type(error)).fault in {Fault.SUSPECT, Fault.SURROUNDINGS} and _is_of_the_contract(type(error))


def _is_of_the_contract(error_class: type[BaseException]) -> bool:
    return any(each.__name__ in {"VisionTransientError", "FeedbackTransientError"} for each in error_class.__mro__)


def retry_after_seconds(error: BaseException) -> float:
    """Return the pause that a provider asks for, in a cause of the exception. 0 if none is named."""
    return next(filter(None, map(_named_seconds, _causes(error))), 0.0)


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__


def _named_seconds(error: BaseException) -> float:
    """The seconds of `retry_after_seconds`, or of the response that an HTTP client has put into its error. 0 for none."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    header = headers.get("retry-after") if isinstance(headers, Mapping) else None
    given = header if header is not None else getattr(error, "retry_after_seconds", None)
    try:
        return max(0.0, float(given)) if isinstance(given, str | int | float) else 0.0
    except ValueError:
        return 0.0
