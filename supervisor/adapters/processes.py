"""Forking, signalling and reaping children. Linux only: prctl keeps no child longer than its supervisor."""

import contextlib
import ctypes
import fcntl
import gc
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_ALL_SIGNALS = signal.valid_signals()
_HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
    signal.SIGPIPE,
)
_F_SETSIG = 10  # Linux; fcntl names it from Python 3.13 on
OOM_SCORE_ABOVE_OURS = 300  # of 1000: the kernel takes a child of a third of the host's memory less before the supervisor
EXIT_BUG = 70


class ForkRefused(RuntimeError):
    """Forking now could deadlock the child: the supervisor has more than one thread (invariant 9)."""


def become_subreaper() -> None:
    """What an adapter forks and leaves behind comes to us and not to the system's init."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def freeze_memory() -> None:
    """Moves all objects so far out of the collector's sight, so that a child's collections do not copy their pages."""
    gc.collect()
    gc.freeze()


def spawn(main: Callable[[], int], closed_fds: Iterable[int]) -> int:
    """Forks a child that runs `main` in a process group of its own, without `closed_fds`; its pid.

    Signals stay blocked in the child until `main` has set its own handlers. Raises OSError, ForkRefused.
    """
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208  also those that Python does not know of
    if threads != 1:
        raise ForkRefused(f"{threads} threads at fork")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
    try:
        supervisor_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_child(main, closed_fds, supervisor_pid)
        with contextlib.suppress(OSError):  # the child does the same: whoever is first
            os.setpgid(pid, pid)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with(lifeline_fd: int) -> None:
    """The kernel itself kills our whole process group as soon as the lifeline's writer, the supervisor, is gone.

    PR_SET_PDEATHSIG is for one process and not for what it forks; this reaches also who is stopped, or computes without end.
    F_SETOWN and F_SETSIG belong to the open file, so each group opens the pipe for itself (fcntl(2), O_ASYNC).
    """
    fd = os.open(f"/proc/self/fd/{lifeline_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(fd, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


def reap(owned: Collection[int]) -> Iterator[tuple[int, int]]:
    """(pid, status) of every child that has ended, strangers included; status is the exit code, or minus the signal.

    What an owned child left in its process group is killed first: until it is reaped, nobody else can have its number.
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
    """SIGTERM to a child not yet reaped: the pid cannot be anybody else's."""
    os.kill(pid, signal.SIGTERM)


def kill(pid: int) -> None:
    """SIGKILL to a child not yet reaped and to what it forked."""
    _kill_group(pid)
    os.kill(pid, signal.SIGKILL)  # its group may not stand yet


def _kill_group(leader_pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, signal.SIGKILL)


def _be_child(main: Callable[[], int], closed_fds: Iterable[int], supervisor_pid: int) -> None:
    code = EXIT_BUG
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor_pid:  # it died before prctl: nobody would tell us
            os._exit(code)
        os.setpgid(0, 0)
        _go_before_the_supervisor()
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        for fd in closed_fds:
            os.close(fd)
        code = main()
    except BaseException as error:  # noqa: BLE001  the last words of a process, without the message
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"child: {type(error).__name__}\n".encode())
    finally:
        os._exit(code)


def _go_before_the_supervisor() -> None:
    """Where memory is short the kernel is to take a child, which is replaced, and not who replaces it. Raising needs no right."""
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # no such file in some sandboxes
        score.write_text(str(min(1000, int(score.read_text()) + OOM_SCORE_ABOVE_OURS)))
