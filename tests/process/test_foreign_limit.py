"""The alarm that ends a foreign adapter's call, with real signals in this process."""

import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from worker.foreign_call import ForeignTimeout, limited, retry_after_seconds

SOON_SECONDS = 0.05
HOUR = 3600.0


class FeedbackTransientError(Exception):
    """The platform's."""


class FeedbackPermanentError(Exception):
    """The platform's."""


def sleep() -> None:
    select.select([], [], [], HOUR)


def recv() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


def wait_for_a_thread() -> None:
    threading.Event().wait(HOUR)


def compute() -> None:
    while True:
        pass


def run_a_program() -> None:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(3600)"], check=False)


@pytest.mark.parametrize("block", [sleep, recv, wait_for_a_thread, compute, run_a_program])
def test_a_call_without_an_end_is_interrupted(block: Callable[[], None]) -> None:
    """Whatever the main thread waits for, and also if it computes."""
    with pytest.raises(ForeignTimeout), limited(SOON_SECONDS):
        block()


def transient() -> None:
    try:
        sleep()
    except TimeoutError as error:
        raise FeedbackTransientError(str(error)) from error


def permanent() -> None:
    try:
        sleep()
    except Exception as error:
        raise FeedbackPermanentError("read_error") from error


def standard_sentence() -> None:
    with suppress(Exception):
        sleep()


def leave() -> None:
    try:
        sleep()
    except BaseException:  # noqa: BLE001
        sys.exit(1)


def again_and_again() -> None:
    while True:
        with suppress(Exception):
            sleep()


def test_the_adapters_own_transient_error_stays() -> None:
    """The adapter makes its own transient error of a time-out, with its code."""
    with pytest.raises(FeedbackTransientError, match=r"^timeout$"), limited(SOON_SECONDS):
        transient()


def test_a_permanent_error_of_an_interrupted_call_fails_no_submission() -> None:
    """An adapter that takes any exception for a damaged file has been misled by the alarm."""
    with pytest.raises(ForeignTimeout), limited(SOON_SECONDS):
        permanent()


def test_a_standard_sentence_of_an_interrupted_call_is_no_result() -> None:
    """An adapter that puts a sentence in the place of an answer has not asked the model."""
    with pytest.raises(ForeignTimeout), limited(SOON_SECONDS):
        standard_sentence()


def test_an_adapter_that_would_leave_has_run_out_of_time() -> None:
    """SystemExit after the alarm is the adapter's end of the call, not a bug."""
    with pytest.raises(ForeignTimeout), limited(SOON_SECONDS):
        leave()


def test_an_adapter_that_tries_again_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second interruption passes an `except Exception`."""
    monkeypatch.setattr("worker.foreign_call.AGAIN_SECONDS", SOON_SECONDS)
    with pytest.raises(ForeignTimeout), limited(SOON_SECONDS):
        again_and_again()


def test_a_call_that_ends_in_time_is_not_touched() -> None:
    """No alarm is left behind, and an exception of the call passes."""
    with limited(SOON_SECONDS):
        pass
    with pytest.raises(FeedbackPermanentError), limited(SOON_SECONDS):
        raise FeedbackPermanentError
    assert select.select([], [], [], 2 * SOON_SECONDS) == ([], [], [])


class Response:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


class RateLimited(Exception):
    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("429")
        self.response = Response(headers)


@pytest.mark.parametrize(
    ("header", "seconds"), [("17", 17.0), ("0", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("-5", 0.0), ("nan", 0.0)]
)
def test_the_pause_of_a_provider_is_read_from_the_cause(header: str, seconds: float) -> None:
    """The platform's adapters only log it, and their exception has that of the HTTP client as its cause."""
    error = FeedbackTransientError("provider_rate_limited")
    error.__cause__ = RateLimited({"retry-after": header})
    assert retry_after_seconds(error) == seconds


class Odd(Exception):
    """The attributes raise, or are beyond a float."""

    retry_after_seconds = 10**400

    @property
    def response(self) -> None:
        raise RuntimeError


class TooLong(Exception):
    retry_after_seconds = 10**400


@pytest.mark.parametrize("cause", [None, Odd(), TooLong()])
def test_no_usable_pause_is_none(cause: Exception | None) -> None:
    """A foreign exception may have any attributes."""
    error = FeedbackTransientError("provider_rate_limited")
    error.__cause__ = cause
    assert retry_after_seconds(error) == 0.0
