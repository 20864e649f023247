"""The descriptors of a worker, and their removal from each process that an adapter forks without exec(2).

With exec(2) the kernel closes them, because all have FD_CLOEXEC. Without it a helper process would keep the worker's database
session with its permit, and could wake, report and write as the worker does.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Protocol, TypeVar
from weakref import WeakSet

from worker.ipc.scoreboard import Scoreboard

_STANDARD_FDS = {0, 1, 2}


class Open(Protocol):
    """A connection or socket. `fileno` raises, or returns -1, after it is closed."""

    def fileno(self) -> int: ...


Resource = TypeVar("Resource", bound=Open)

_OPENED: WeakSet[Open] = WeakSet()
_OPENING = RLock()


@contextmanager
def opening() -> Iterator[None]:
    """Delay forks by other threads of an adapter until the block has opened a resource and passed it to `unshared`."""
    with _OPENING:
        yield


def unshared(resource: Resource) -> Resource:
    """Return the resource. Its descriptor is taken from each process that is forked while the resource is in use."""
    _OPENED.add(resource)
    return resource


def unshare_at_fork(scoreboard: Scoreboard) -> None:
    """Take the scoreboard, all present descriptors but the standard ones, and those of `unshared` from later forks.

    Called before an adapter is loaded, so that none of the present descriptors is an adapter's. In the child each becomes one of
    /dev/null. The number of a closed one could be used again there, and be closed by the copy of an object of the worker.
    """
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    present_fds = {*_present_fds()} - {*_STANDARD_FDS, null_fd}
    scoreboard.hide_from_forks()

    def unshare() -> None:
        _OPENING.release()
        for fd in present_fds.union(_fds_of(tuple(_OPENED))):
            os.dup2(null_fd, fd, inheritable=False)
        scoreboard.replace_in_fork()

    os.register_at_fork(before=_OPENING.acquire, after_in_parent=_OPENING.release, after_in_child=unshare)


def _present_fds() -> Iterator[int]:
    names = os.listdir("/proc/self/fd")  # noqa: PTH208  numbers, not paths
    return (int(name) for name in names if os.path.lexists(f"/proc/self/fd/{name}"))  # the listing's own is closed by now


def _fds_of(resources: Iterable[Open]) -> Iterator[int]:
    for resource in resources:
        try:
            fd = resource.fileno()
        except Exception:  # noqa: BLE001, S112  each library has its own class of error for a closed connection
            continue
        if fd >= 0:
            yield fd
