"""Signals as something to wait for: the handlers only remember."""

import os
import signal
from collections import Counter
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD, MORE, FEWER = signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU  # as gunicorn has them
_READ_BYTES = 4096


class SignalInbox:
    """Counts what was asked by signals; SIGCHLD only wakes. `fd` is readable after each."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._heard: Counter[int] = Counter()

    @property
    def fds(self) -> tuple[int, int]:
        return self.fd, self._write_fd

    def install(self) -> None:
        """Standard dispositions are replaced explicitly: the first process of a container has none of its own.

        SIGPIPE and SIGUSR would end a process that has none. Who started us may have blocked any of them, which exec(2) keeps.
        """
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in (*STOP, RELOAD, MORE, FEWER):
            signal.signal(number, self._remember)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

    def take(self) -> "Counter[int]":
        """How often each signal came since the last call; clears what made `fd` readable."""
        try:
            os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return Counter()
        heard, self._heard = self._heard, Counter()
        return heard

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._heard[number] += 1


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """The byte in the pipe is all that is wanted of SIGCHLD."""
