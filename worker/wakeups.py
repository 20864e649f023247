"""Events that end a worker's wait: a wake-up by the monitor, a request to stop, or the end of the supervisor."""

import os
import select
import signal
import time
from collections.abc import Callable
from types import FrameType

from worker.ipc.contract import ExitCode
from worker.ipc.signals import HARMLESS_SIGNALS, STOP_SIGNALS, TERMINAL_SIGNALS

_READ_BYTES = 4096


class Wakeups:
    """Waits on the slot's eventfd, the lifeline and signals. The signal handler only stores its time and ends the wait.

    Python runs the handler between two bytecodes. A signal after the last bytecode before the wait would be handled only after
    the timeout. Therefore the interpreter also writes each signal to a pipe at once (signal.set_wakeup_fd).
    """

    def __init__(
        self, wake_fd: int, lifeline_fd: int, is_retiring: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wake_fd, self._lifeline_fd, self._is_retiring, self._clock = wake_fd, lifeline_fd, is_retiring, clock
        self._poll = select.poll()
        self._poll.register(wake_fd, select.POLLIN)
        self._poll.register(lifeline_fd, select.POLLIN)
        self._signal_fd, self._signal_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._signal_fd, select.POLLIN)
        self.stop_asked_at_seconds: float | None = None

    def install(self) -> None:
        """Handles SIGTERM as the request to stop.

        SIGINT and SIGHUP are ignored: a terminal sends them to all its processes, and the supervisor alone acts on them.
        The harmless signals get a handler without effect, so that a program executed by an adapter has their default actions:
        exec(2) keeps an ignored signal ignored, and `alarm` would no longer end such a program.
        """
        signal.set_wakeup_fd(self._signal_write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._remember_stop)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, *STOP_SIGNALS, *TERMINAL_SIGNALS):
            signal.signal(number, signal.SIG_IGN)
        for number in HARMLESS_SIGNALS:
            signal.signal(number, _do_nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())  # blocked since before the fork: none was lost

    @property
    def is_leaving(self) -> bool:
        """Asked to stop or to be replaced. The worker exits as soon as it holds no job."""
        return self.stop_asked_at_seconds is not None or self._is_retiring()

    def wait(self, timeout_seconds: float) -> bool:
        """True after a wake-up or a request to stop, False after the timeout. Exits if the supervisor has ended."""
        is_woken = False
        for fd, _ in self._poll.poll(max(0.0, timeout_seconds) * 1000):
            if fd == self._lifeline_fd:
                os._exit(ExitCode.SUPERVISOR_GONE)
            if fd == self._signal_fd:
                os.read(fd, _READ_BYTES)
                is_woken = is_woken or self.stop_asked_at_seconds is not None  # the handler has run: poll has returned
            else:
                os.eventfd_read(self._wake_fd)
                is_woken = True
        return is_woken

    def _remember_stop(self, _signal: int, _frame: FrameType | None) -> None:
        if self.stop_asked_at_seconds is None:
            self.stop_asked_at_seconds = self._clock()
        os.eventfd_write(self._wake_fd, 1)


def _do_nothing(_signal: int, _frame: FrameType | None) -> None:
    pass
