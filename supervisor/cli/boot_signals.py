"""Signals of a command until its libraries are imported."""

import signal
import sys

from supervisor.adapters.signals import hold_back


def prepare() -> None:
    """Let `start` keep its signals until the supervisor has handlers. Let SIGINT end every other command at once.

    A KeyboardInterrupt would not do, because it may be lost in an import (`unraisablehook`).
    """
    if sys.argv[1:2] == ["start"]:
        hold_back()
    elif signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
