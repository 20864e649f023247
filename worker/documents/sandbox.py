"""Runs code in a forked child that can only compute and write into one pipe. The worker survives any end of the child."""

import contextlib
import ctypes
import gc
import math
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from worker.documents.one_process import forbid_processes
from worker.ipc.descriptors import opening, unshared
from worker.memory import data_bytes, rss_bytes

MEMORY_BYTES = 512 * 2**20  # in addition to the worker's memory at the fork. 40 million pixels in the worst mode take 350 MiB
CPU_SECONDS = 5  # for opening and the first page, and again for each further page. An ordinary page takes 0.1
SHORT_SHARE = 0.4  # of the memory: a list that grows is copied to twice its size, which fails at half of it
END_SECONDS = 0.5  # after SIGKILL. It takes a millisecond
EXIT_BUG = 70
_LIMITS = {
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 16,  # pdfium opens font files
}
_NO_PROCESSES = {resource.RLIMIT_NPROC: 0}  # nor threads, so no HEIC. No child of its own may outlive it
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_LIBC = ctypes.CDLL(None, use_errno=True)
_SETTABLE_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


_left_pids: set[int] = set()  # killed children that had not ended


class Sandbox:
    """The worker's handle of a child: its pid and the read end of its pipe."""

    def __init__(self, pid: int, fd: int, memory_bytes: int = MEMORY_BYTES, start_bytes: int = 0) -> None:
        self.pid, self.fd = pid, fd
        self._memory_bytes, self._start_bytes = memory_bytes, start_bytes
        self._peak_bytes = 0
        self._exit_code: int | None = None

    @property
    def is_short_of_memory(self) -> bool:
        """True of an ended child that used so much of its memory that a further allocation may have failed."""
        return self._peak_bytes - self._start_bytes > self._memory_bytes * SHORT_SHARE

    def fileno(self) -> int:
        return self.fd if self._exit_code is None else -1

    def cpu_seconds(self) -> float:
        """Return the processor time used so far (proc_pid_stat(5), fields 14 and 15), 0 if the child has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> int:
        """Kill the child if it still runs, reap it, and return its exit code, or minus the number of the signal that ended it.

        A child that waits in the kernel for a disk cannot end yet. It is left, and reaped before a later child is started.
        """
        if self._exit_code is None:
            os.kill(self.pid, signal.SIGKILL)  # safe: the pid cannot be reused before it is reaped
            self._exit_code = self._reap()
        return self._exit_code

    def _reap(self) -> int:
        """A dead child has closed its end of the pipe, which no other process has."""
        closed = select.poll()
        closed.register(self.fd, 0)
        has_ended = closed.poll(END_SECONDS * 1000)
        os.close(self.fd)
        if has_ended:
            _, status, usage = os.wait4(self.pid, 0)
            self._peak_bytes = usage.ru_maxrss * 1024
            return os.waitstatus_to_exitcode(status)
        _left_pids.add(self.pid)
        return -signal.SIGKILL


@contextmanager
def sandboxed(work: Callable[[int], object], memory_bytes: int = MEMORY_BYTES) -> Iterator[Sandbox]:
    """Fork a child that runs `work` with the pipe's write end. It is killed at the end of the block. Raises OSError."""
    with opening():  # another process with the pipe's write end would hide the end of the child
        child = unshared(_fork(work, memory_bytes))
    try:
        yield child
    finally:
        child.end()


def allow_cpu(seconds: int) -> None:
    """Set, in the child, the further processor time after which SIGXCPU ends it."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (_within(hard, math.ceil(time.process_time()) + seconds), hard))


def left_children() -> int:
    """Return the number of killed children that wait in the kernel and cannot end yet."""
    _reap_left()
    return len(_left_pids)


def _reap_left() -> None:
    for pid in tuple(_left_pids):
        with contextlib.suppress(ChildProcessError):  # reaped already, because an adapter ignores SIGCHLD
            if not os.waitpid(pid, os.WNOHANG)[0]:
                continue
        _left_pids.remove(pid)


def _fork(work: Callable[[int], object], memory_bytes: int) -> Sandbox:
    _reap_left()
    read_fd, write_fd = os.pipe()
    worker_pid = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # no handler of the worker may run in the child
    try:
        pid = os.fork()
        if pid == 0:
            _be_child(work, write_fd, memory_bytes, worker_pid)
    except OSError:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Sandbox(pid, read_fd, memory_bytes, rss_bytes())


def _be_child(work: Callable[[int], object], fd: int, memory_bytes: int, worker_pid: int) -> NoReturn:
    code = EXIT_BUG
    try:
        _confine(fd, memory_bytes, worker_pid)
        work(fd)
        code = 0
    finally:
        os._exit(code)


def _confine(fd: int, memory_bytes: int, worker_pid: int) -> None:
    """Tie the child's life to the worker, then take away everything that computing does not need."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker_pid:  # the worker died before prctl, so no signal will come
        os._exit(EXIT_BUG)
    _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # a core handler ignores RLIMIT_CORE, and a core would hold a pupil's work
    _default_signals()
    _close_all_but(fd)
    gc.freeze()  # a finalizer of the worker could close a descriptor number that the child uses by then
    limits = _LIMITS if forbid_processes() else _LIMITS | _NO_PROCESSES
    for kind, limit in {**limits, resource.RLIMIT_DATA: data_bytes() + memory_bytes}.items():
        within = _within(resource.getrlimit(kind)[1], limit)
        resource.setrlimit(kind, (within, within))
    allow_cpu(CPU_SECONDS)


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _SETTABLE_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def _close_all_but(fd: int) -> None:
    """Close the worker's descriptors: connections and lifeline must not be reachable from a process that parses files."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not paths
        if int(name) != fd:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(int(name))


def _within(hard: int, limit: int) -> int:
    return limit if hard == resource.RLIM_INFINITY else min(hard, limit)
