"""Forking, signalling and reaping children. Linux only, because prctl(2) ends the children with their supervisor."""

import contextlib
import ctypes
import fcntl
import gc
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from supervisor.adapters.cannot_start import CannotStart
from supervisor.adapters.signals import HANDLED
from worker.ipc.contract import ExitCode

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_ALL_SIGNALS = signal.valid_signals()
_F_SETSIG = 10  # Linux (fcntl has the name from Python 3.13 on)
OOM_SCORE_ABOVE_SUPERVISOR = 300  # of 1000: a child counts as if it used 30 % of the host's memory more

THREADS_MEANING = "a thread was started before the first fork, so no worker can be forked without a deadlock"
THREADS_REMEDY = (
    "remove what starts it at the start of Python: LD_PRELOAD, a .pth file, sitecustomize or the agent of a monitoring tool"
)


class UnsafeFork(RuntimeError):
    """The supervisor has more than one thread, so a fork could deadlock the child (invariant 9)."""


def other_threads() -> list[str]:
    """The names of all threads of this process but its main one, also of those that a C library has started."""
    names = []
    for task in sorted(Path("/proc/self/task").iterdir()):
        if task.name != str(os.getpid()):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                names.append((task / "comm").read_text().strip())
    return names


def ensure_one_thread() -> None:
    """Raises CannotStart if a thread runs before the first fork, which a restart would not change."""
    if names := other_threads():
        raise CannotStart(f"{THREADS_MEANING} ({', '.join(names)}): {THREADS_REMEDY}")


def become_subreaper() -> None:
    """Become the parent of processes that an adapter leaves behind, in place of the system's init."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def rename(name: str) -> None:
    """Give this process a name of at most 15 bytes, as in `ps` and `top`."""
    _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def freeze_memory() -> None:
    """Exempt all present objects from garbage collection, so that collections in the children do not copy their pages."""
    gc.collect()
    gc.freeze()


def spawn(main: Callable[[], int], closed_fds: Iterable[int]) -> int:
    """Fork a child that runs `main` in its own process group, without `closed_fds`, and return its pid.

    Signals stay blocked in the child until `main` has installed its handlers. Raises OSError, UnsafeFork.
    """
    if names := other_threads():
        raise UnsafeFork(f"{len(names) + 1} threads at fork")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
    try:
        supervisor_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_child(main, closed_fds, supervisor_pid)
        with contextlib.suppress(OSError):  # the child does the same, and either may be first
            os.setpgid(pid, pid)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with(lifeline_fd: int) -> None:
    """Let the kernel kill this process group as soon as the supervisor, the lifeline's only writer, is gone.

    PR_SET_PDEATHSIG covers one process and not the ones that it forks. This also kills stopped processes and ones that
    never return to Python.
    """
    # supervisor          kernel: the lifeline pipe           a child's process group
    # write end ───────▶ [            pipe           ]◀─────── open file of this group
    #     │                                                    O_ASYNC: send a signal when the pipe changes
    #     ✕ supervisor ends: the last write end is closed      F_SETSIG: the signal is SIGKILL, not SIGIO
    #     └──▶ the read end changes to "hang-up" ───────────▶  F_SETOWN -pgid: to all processes of the group
    #
    # Nothing is ever written to the pipe, so its only change is the hang-up. The owner and the signal belong to the open
    # file and not to the descriptor. With the inherited open file each child would replace the owner that the child before
    # has set. Therefore each group opens the pipe again through /proc (fcntl(2)).
    fd = os.open(f"/proc/self/fd/{lifeline_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(fd, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


def reap(owned: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield (pid, status) of each ended child, adopted ones included. The status is the exit code, or minus the signal.

    The rest of an owned child's process group is killed first, because the number can be reused after the child is reaped.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        if ended.si_pid in owned:
            _kill_group(ended.si_pid)
        pid, status = os.waitpid(ended.si_pid, 0)
        yield pid, os.waitstatus_to_exitcode(status)


def terminate(pid: int) -> None:
    """Send SIGTERM to a child that is not yet reaped, so that its pid is not reused."""
    os.kill(pid, signal.SIGTERM)


def kill(pid: int) -> None:
    """Send SIGKILL to a child that is not yet reaped, and to the processes that it forked."""
    _kill_group(pid)
    os.kill(pid, signal.SIGKILL)  # its group may not exist yet


def _kill_group(leader_pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, signal.SIGKILL)


def _be_child(main: Callable[[], int], closed_fds: Iterable[int], supervisor_pid: int) -> None:
    code = int(ExitCode.BUG)
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor_pid:  # it died before prctl, which then never sends the signal
            os._exit(code)
        os.setpgid(0, 0)
        _raise_oom_score()
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        for fd in closed_fds:
            os.close(fd)
        code = main()
    except BaseException as error:  # noqa: BLE001  the class alone: a message may contain personal data
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"child: {type(error).__name__}\n".encode())
    finally:
        os._exit(code)


def _raise_oom_score() -> None:
    """Raise oom_score_adj, so that the OOM killer picks a child before the supervisor. Raising needs no privilege."""
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # no such file in some sandboxes
        score.write_text(str(min(1000, int(score.read_text()) + OOM_SCORE_ABOVE_SUPERVISOR)))
