"""Signals as something to wait for: the handlers only remember."""

import os
import signal
from collections.abc import Callable
from types import FrameType

_READ_BYTES = 4096


class SignalInbox:
    """SIGTERM, SIGINT and SIGHUP are counted as requests to stop; SIGCHLD only wakes. `fd` is readable after each."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stops = 0

    @property
    def fds(self) -> tuple[int, int]:
        return self.fd, self._write_fd

    def install(self) -> None:
        """Standard dispositions are replaced explicitly: the first process of a container has none of its own."""
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: self._remember_stop,
            signal.SIGINT: self._remember_stop,
            signal.SIGHUP: self._remember_stop,  # a closed terminal
            signal.SIGCHLD: _ignore,
        }
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def take_stops(self) -> int:
        """How many requests to stop came since the last call; clears what made `fd` readable."""
        try:
            os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return 0
        stops, self._stops = self._stops, 0
        return stops

    def _remember_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stops += 1


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """The byte in the pipe is all that is wanted of SIGCHLD."""
