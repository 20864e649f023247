"""The wait of a worker, with real descriptors. Signals and wake-ups are timed to its beginning and its end."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from worker.wakeups import Wakeups

STOPS, WAKE_UPS = 20_000, 800
LONG_SECONDS = 2.0  # longer than a busy machine keeps a process waiting: only a stop that does not end its wait takes it
SHORT_SECONDS = 0.001  # as short as the kernel's resolution
MAX_DELAY_US = 40  # a round takes some 10 µs to its system call


class Waiting:
    """A worker's wait. SIGALRM is a request to stop too, because a timer of this process can send it at a chosen microsecond."""

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.lifeline_fd, self.lifeline_end_fd = os.pipe2(os.O_CLOEXEC)
        self.wakeups = Wakeups(self.wake_fd, self.lifeline_fd, lambda: False)
        self.wakeups.install()
        signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))

    def is_ended_by_a_stop(self, delay_us: float) -> bool:
        """Begins a wait that a stop after `delay_us` must end or prevent."""
        self.wakeups.stop_asked_at_seconds = None
        self.wakeups.wait(0.0)
        signal.setitimer(signal.ITIMER_REAL, delay_us * 1e-6)
        return self.wakeups.is_leaving or self.wakeups.wait(LONG_SECONDS)

    def is_ended_by_a_wake_up(self, delay_seconds: float) -> bool:
        """Waits twice for a wake-up that comes after `delay_seconds`. The second wait begins after it was sent."""
        sender = threading.Thread(target=self._wake_after, args=(delay_seconds,))
        sender.start()
        is_woken = self.wakeups.wait(SHORT_SECONDS)
        sender.join()
        return is_woken or self.wakeups.wait(LONG_SECONDS)

    def _wake_after(self, delay_seconds: float) -> None:
        time.sleep(delay_seconds)
        os.eventfd_write(self.wake_fd, 1)


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    before = {number: handler for number in signal.valid_signals() if (handler := signal.getsignal(number)) is not None}
    made = Waiting()
    yield made
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.set_wakeup_fd(-1)
    for number in before.keys() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, before[number])
    for fd in (made.wake_fd, made.lifeline_fd, made.lifeline_end_fd):
        os.close(fd)


def test_a_stop_in_the_instant_before_the_wait_ends_it(waiting: Waiting) -> None:
    """A signal between the last question and the system call ends the wait, which would otherwise last to its timeout."""
    delays_us = [1 + round_ % (MAX_DELAY_US * 20) / 20 for round_ in range(STOPS)]
    assert [delay_us for delay_us in delays_us if not waiting.is_ended_by_a_stop(delay_us)] == []


def test_a_wake_up_in_the_instant_of_the_timeout_ends_the_next_wait(waiting: Waiting) -> None:
    """A wake-up is never lost between two waits: it ends the one in which it comes, or the one after it."""
    delays_seconds = [SHORT_SECONDS * (0.8 + 0.4 * round_ / WAKE_UPS) for round_ in range(WAKE_UPS)]
    assert [delay for delay in delays_seconds if not waiting.is_ended_by_a_wake_up(delay)] == []
