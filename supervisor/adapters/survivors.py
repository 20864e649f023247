"""Processes that an adapter has forked and that still hold a descriptor of a dead worker. They are killed.

Python's forks drop the worker's descriptors (worker/ipc/descriptors.py), and exec(2) closes them. A fork by a C library does
neither: its process keeps the worker's database session, and with it a permit. A process that holds no descriptor of a worker is
left alone.
"""

import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from supervisor.adapters.lock_file import is_worker_lock
from supervisor.adapters.runtime_directory import lock_path

_MAX_SEARCHES = 8  # each one also finds the processes that were forked during the one before
_CHILDREN = Path("/proc/thread-self/children")


def kill_survivors_of_worker(event_fd: int, own_pids: Collection[int]) -> Iterator[int]:
    """Kill the orphans that hold this socket, the end for events of a dead worker, and yield their pids.

    Orphans are adopted by the supervisor, its subreaper. If there are none, this reads one file. `own_pids` are spared: a child
    that was forked just now holds the sockets of all slots for a moment.
    """
    socket = _target(os.getpid(), event_fd)
    return _kill_all(lambda: _orphans(own_pids), lambda pid: any(_target(pid, fd) == socket for fd in _fds(pid)))


def kill_survivors_of_instance(directory: Path, number: int) -> Iterator[int]:
    """Kill the processes that hold a dead worker's descriptor of the instance's file, and yield their pids.

    No worker of the instance is alive, so only a process forked by one can hold such a descriptor. Processes of other users are
    not visible and not searched.
    """
    file = str(lock_path(directory, number).resolve())
    return _kill_all(_all_pids, lambda pid: any(_target(pid, fd) == file and is_worker_lock(pid, fd) for fd in _fds(pid)))


def _kill_all(candidates: Callable[[], Iterable[int]], is_survivor: Callable[[int], bool]) -> Iterator[int]:
    """After a kill, two searches in a row must find nothing: the kernel's list of children misses some while others end."""
    killed: set[int] = set()
    is_last = True
    for _ in range(_MAX_SEARCHES):
        new = [pid for pid in candidates() if pid not in killed and _kill_if(is_survivor, pid)]
        yield from new
        killed.update(new)
        if not new and is_last:
            return
        is_last = not new


def _kill_if(is_survivor: Callable[[int], bool], pid: int) -> bool:
    """Kill the process if it is a survivor. The pidfd is older than the check, so another process cannot be hit."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:  # it has ended
        return False
    try:
        if not is_survivor(pid):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:  # it has ended, or belongs to another user
        return False
    finally:
        os.close(pidfd)
    return True


def _fds(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/fd")]  # noqa: PTH208  half the time of Path, for thousands of descriptors


def _target(pid: int, fd: int) -> str:
    """Return the target of a descriptor, or an empty text if it has been closed."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")  # noqa: PTH115  as above
    except FileNotFoundError:
        return ""


def _orphans(own_pids: Collection[int]) -> Iterator[int]:
    """Yield the children of this process other than `own_pids`, and all their descendants.

    A kernel without CONFIG_PROC_CHILDREN lists no children, so all processes are searched there.
    """
    if not _CHILDREN.exists():
        yield from (pid for pid in _all_pids() if pid not in own_pids)
        return
    pending = [pid for pid in _children(os.getpid()) if pid not in own_pids]
    while pending:
        yield (pid := pending.pop())
        pending.extend(_children(pid))


def _children(pid: int) -> Iterator[int]:
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (task / "children").read_text().split())
    except OSError:  # it has ended
        return


def _all_pids() -> list[int]:
    """Return the pids of all processes but this one."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208  as above
    return [pid for pid in pids if pid != os.getpid()]
