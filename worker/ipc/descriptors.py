"""The descriptors of a worker, and their removal from each process that an adapter forks without exec(2).

With exec(2) the kernel closes them, because all have FD_CLOEXEC. Without it a helper process would keep the worker's database
session with its permit, and could wake, report and write as the worker does.
"""

import os
from collections.abc import Iterator
from typing import Protocol, TypeVar
from weakref import WeakSet

from worker.ipc.scoreboard import Scoreboard


class Open(Protocol):
    """A connection or socket. `fileno` raises, or returns -1, after it is closed."""

    def fileno(self) -> int: ...


Resource = TypeVar("Resource", bound=Open)

_OPENED: WeakSet[Open] = WeakSet()


def unshared(resource: Resource) -> Resource:
    """Return the resource, whose descriptor no forked process will keep from now on."""
    _OPENED.add(resource)
    return resource


def unshare_at_fork(scoreboard: Scoreboard) -> None:
    """Take the descriptors that are open now, those of `unshared` and the scoreboard from each process forked from now on.

    Called before an adapter is loaded, so all descriptors but the standard ones are the worker's own. In the child each becomes
    one of /dev/null. A closed number could be used again by the child and then be closed by a copy of its owner.
    """
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    inherited = {fd for fd in _open_fds() if fd > 2} - {null_fd}
    scoreboard.hide_from_forks()

    def unshare() -> None:
        for fd in inherited.union(_fds_of(tuple(_OPENED))):
            os.dup2(null_fd, fd, inheritable=False)
        scoreboard.replace_in_fork()

    os.register_at_fork(after_in_child=unshare)


def _open_fds() -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not paths
        if os.path.lexists(f"/proc/self/fd/{name}"):  # the listing's own descriptor is closed by now
            yield int(name)


def _fds_of(resources: tuple[Open, ...]) -> Iterator[int]:
    for resource in resources:
        try:
            fd = resource.fileno()
        except Exception:  # noqa: BLE001, S112  each library has a class of its own for a closed connection
            continue
        if fd >= 0:
            yield fd
