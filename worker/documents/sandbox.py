"""A forked child that may compute and write into one pipe. Whatever becomes of it, the worker that forked it goes on."""

import contextlib
import ctypes
import gc
import math
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from worker.memory import data_bytes

MEMORY_BYTES = 512 * 2**20  # beyond what the worker had at the fork; 40 million pixels in the worst mode take 350 MiB
CPU_SECONDS = 5  # until the first page and for each further one; an ordinary page takes 0.1
EXIT_BUG = 70
_LIMITS = {
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NPROC: 0,  # as nobody's parent it leaves nobody behind
    resource.RLIMIT_NOFILE: 16,  # pdfium looks for fonts
}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_LIBC = ctypes.CDLL(None, use_errno=True)
_SETTABLE_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class Sandbox:
    """The child from the worker's side: the pipe's read end, and its end."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid, self.fd = pid, fd
        self._exit_code: int | None = None

    def end(self) -> int:
        """Kills and reaps it; the exit code, or minus the signal, that ended it. What had ended it before stays the reason."""
        if self._exit_code is None:
            os.close(self.fd)
            os.kill(self.pid, signal.SIGKILL)  # not reaped yet: nobody else can have its number
            self._exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._exit_code


@contextmanager
def sandboxed(work: Callable[[int], object], memory_bytes: int = MEMORY_BYTES) -> Iterator[Sandbox]:
    """Forks a child that runs `work` with the pipe's write end, and ends it with the block. Raises OSError if it cannot fork."""
    child = _forked(work, memory_bytes)
    try:
        yield child
    finally:
        child.end()


def allow_cpu(seconds: int) -> None:
    """Called in the child: SIGXCPU ends it after so much more processor time."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (_within(hard, math.ceil(time.process_time()) + seconds), hard))


def _forked(work: Callable[[int], object], memory_bytes: int) -> Sandbox:
    read_fd, write_fd = os.pipe()
    worker_pid = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the worker's handler must not run in the child
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
    return Sandbox(pid, read_fd)


def _be_child(work: Callable[[int], object], fd: int, memory_bytes: int, worker_pid: int) -> NoReturn:
    code = EXIT_BUG
    try:
        _confine(fd, memory_bytes, worker_pid)
        work(fd)
        code = 0
    finally:
        os._exit(code)


def _confine(fd: int, memory_bytes: int, worker_pid: int) -> None:
    """First the end together with the worker, then everything that is not needed for computing goes."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker_pid:  # it died before prctl: nobody would tell us
        os._exit(EXIT_BUG)
    _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # RLIMIT_CORE does not hold for a core handler: no pupil's work in a journal
    _default_signals()
    _close_all_but(fd)
    gc.freeze()  # what the worker left must not be finalized here: its numbers of descriptors may be ours by then
    for kind, limit in {**_LIMITS, resource.RLIMIT_DATA: data_bytes() + memory_bytes}.items():
        within = _within(resource.getrlimit(kind)[1], limit)
        resource.setrlimit(kind, (within, within))
    allow_cpu(CPU_SECONDS)


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _SETTABLE_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def _close_all_but(fd: int) -> None:
    """The database's and the model server's connections and the lifeline must not live on in a process that parses files."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not paths
        if int(name) != fd:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(int(name))


def _within(hard: int, limit: int) -> int:
    return limit if hard == resource.RLIM_INFINITY else min(hard, limit)
