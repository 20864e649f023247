"""The identity of a running supervisor: a random number in the name of a locked file. Without any lock the instance is dead."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from supervisor.adapters import lock_file
from supervisor.adapters.runtime_directory import (
    RuntimeDirectoryForbidden,
    control_socket,
    lock_path,
    lock_paths,
    make_private,
    with_remedy,
)


class Instance:
    """A supervisor with its workers. Each has a lock of its own on the file, so the last lock ends with the last of them."""

    def __init__(self, directory: Path, database: str) -> None:
        """Raises RuntimeDirectoryError."""
        make_private(directory)
        self.directory, self.database = directory, database
        self.number = 0
        self.lock_fd = -1
        while self.lock_fd < 0:
            self.number = 1 + secrets.randbelow(2**32 - 1)
            with with_remedy(directory):
                self.lock_fd = lock_file.create_locked(directory, self.number, database)

    @property
    def control_socket(self) -> Path:
        return control_socket(self.directory, self.number)

    def lock_in_worker(self) -> None:
        """Give up the supervisor's lock, which was inherited by the fork, for a lock of this process. Raises OSError."""
        self.lock_fd = lock_file.relocked_in_worker(self.lock_fd)

    def unlock_in_monitor(self) -> None:
        """Give up the supervisor's lock, which was inherited by the fork. A monitor holds no lease and needs no lock."""
        os.close(self.lock_fd)

    def restore(self) -> bool:
        """Make the directory and the lock file again if they were removed. True if one was. Raises RuntimeDirectoryError.

        Without the file no other instance would find the leases after a death of this one. The number stays, because the
        lease keys name it. A former file that still has a name, as in a renamed directory, stays locked.
        """
        path, former_fd = lock_path(self.directory, self.number), self.lock_fd
        if lock_file.is_open_as(path, former_fd):
            return False
        make_private(self.directory)
        with with_remedy(self.directory):
            path.unlink(missing_ok=True)
            self.lock_fd = lock_file.create_locked(self.directory, self.number, self.database)
        if os.fstat(former_fd).st_nlink == 0:
            os.close(former_fd)
        return True

    def retire(self) -> None:
        """Remove the socket and the lock after a clean end, when no lease is left.

        A file that cannot be removed does no harm: the next instance finds no lease of this one and removes it.
        """
        forget(self.directory, self.number)


def is_alive(directory: Path, number: int) -> bool:
    """Report whether a process of the instance holds its lock. No lock is taken. Raises RuntimeDirectoryForbidden."""
    try:
        fd = lock_file.opened(lock_path(directory, number), os.O_RDONLY)
    except PermissionError as error:
        raise RuntimeDirectoryForbidden(directory) from error
    except OSError:  # removed after a clean end, or not a lock file
        return False
    try:
        return lock_file.has_process_lock(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def dead_instances(directory: Path, database: str) -> Iterator[list[int]]:
    """Lock the dead instances that used this database, and yield their numbers.

    The locks are held meanwhile, so that two monitors do not reclaim the same leases twice.
    """
    with contextlib.ExitStack() as held:
        yield [number for path in lock_paths(directory) if (number := _taken(path, held, database)) is not None]


def remove_socket(directory: Path, number: int) -> None:
    """Remove the socket of a dead instance. A later search repeats what is not possible now."""
    with contextlib.suppress(OSError):
        control_socket(directory, number).unlink(missing_ok=True)


def forget(directory: Path, number: int) -> None:
    """Remove the files of a dead instance, after its leases are reclaimed. A later search repeats what is not possible now."""
    remove_socket(directory, number)
    with contextlib.suppress(OSError):
        lock_path(directory, number).unlink(missing_ok=True)


def _taken(path: Path, held: contextlib.ExitStack, database: str) -> int | None:
    """Return the number of a dead instance and keep its lock. None: alive, of another database, or not a lock file."""
    try:
        fd = lock_file.opened(path, os.O_RDWR)
        held.callback(os.close, fd)
        is_dead = lock_file.is_unlocked(fd) and os.read(fd, 64) == database.encode()
        return int(path.stem, 16) if is_dead else None
    except (OSError, ValueError):  # removed meanwhile, or not a lock file
        return None
