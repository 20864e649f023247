"""Tie a child process to its parent, so that the child ends even if the parent is killed with SIGKILL."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded here, because nothing may be loaded between fork and exec


def die_with(parent_pid: int, number: signal.Signals = signal.SIGQUIT) -> Callable[[], None]:
    """Return a `preexec_fn` that makes the kernel send `number` to the child when its parent's thread ends.

    The child exits at once if the parent has already died, because the kernel sends nothing for an earlier death.
    The signal's default action is restored: a shell without job control starts background jobs with SIGQUIT ignored,
    and children inherit that.
    """

    def prepare() -> None:
        if number is not signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_pid:
            os._exit(1)

    return prepare
