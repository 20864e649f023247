"""The signals that the supervisor handles, and a queue of them to wait for. The handlers only count."""

import os
import signal
from collections import Counter
from enum import Enum
from types import FrameType

from worker.ipc.signals import HARMLESS_SIGNALS, STOP_SIGNALS

_READ_BYTES = 4096


class Effect(Enum):
    """Effect of a signal on the supervisor."""

    STOP = "drain and leave; the second shortens the drain, the third kills all workers at once"
    RELOAD = "read the settings again"
    ADD_WORKER = "run one worker more"
    REMOVE_WORKER = "run one worker less"
    WAKE = "end the wait, because a child may have ended"
    IGNORE = "nothing"


SIGNALS: dict[int, Effect] = {
    signal.SIGTERM: Effect.STOP,
    signal.SIGINT: Effect.STOP,
    signal.SIGHUP: Effect.RELOAD,
    signal.SIGTTIN: Effect.ADD_WORKER,  # as in gunicorn
    signal.SIGTTOU: Effect.REMOVE_WORKER,
    signal.SIGCHLD: Effect.WAKE,
    signal.SIGPIPE: Effect.IGNORE,  # its default would end the supervisor when a reader of the log is gone
    **dict.fromkeys((*HARMLESS_SIGNALS, *STOP_SIGNALS), Effect.IGNORE),
}
HANDLED = frozenset(number for number, effect in SIGNALS.items() if effect is not Effect.IGNORE)


def hold_back() -> None:
    """Ignore the signals without an effect, and block the others until `SignalInbox.install`, which then receives them.

    Called before the long imports of `start`, because the default actions would end or stop the starting process.
    """
    for number in SIGNALS.keys() - HANDLED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def block_all() -> None:
    """Block all signals until the process ends, because its exit code is decided.

    Python restores the default actions before it ends, so a handler or a flag would not be enough.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


class SignalInbox:
    """Counts the effects that signals have requested. `fd` is readable after each signal that has a handler."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._received: Counter[Effect] = Counter()

    @property
    def fds(self) -> tuple[int, int]:
        return self.fd, self._write_fd

    def install(self) -> None:
        """Install a handler for each signal of the table, because a container's first process has no default ones.

        Also unblock all signals: the parent may have blocked some, and exec(2) keeps that.
        """
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number, effect in SIGNALS.items():
            signal.signal(number, signal.SIG_IGN if effect is Effect.IGNORE else self._count)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

    def take(self) -> "Counter[Effect]":
        """Return how often each effect was requested since the last call, and empty the pipe behind `fd`."""
        try:
            os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return Counter()
        received, self._received = self._received, Counter()
        return received

    def _count(self, number: int, _frame: FrameType | None) -> None:
        self._received[SIGNALS[number]] += 1
