"""The tie to the parent process: no simulator outlives the test or demo that started it."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel send SIGKILL when the parent's thread that started us ends.

    `parent_pid` is the parent as the parent itself named it, so that one that died before the call is seen too: the kernel
    sends no signal for a death that is already past, but by then getppid() names somebody else.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        sys.exit("ollama_simulator: the parent has already ended")
