"""The identity of a running supervisor: a random number in a locked file. Without any lock on the file, the instance is dead.

The supervisor has a lock by flock(2), which belongs to its open file. Each worker has one by fcntl(2), which belongs to the
process: a process that an adapter forks does not inherit it, whatever descriptors it keeps.
"""

import contextlib
import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".instance"
_MAX_SOCKET_PATH_BYTES = 107  # unix(7), without the final zero
_FLOCK = struct.Struct("hhqqi0q")  # struct flock of fcntl(2): type, whence, start, length, pid
_LOCK_FLAGS = os.O_RDONLY | os.O_APPEND  # no other program has a reason to combine these two


class RuntimeDirectoryError(Exception):
    """The runtime directory is not private or not writable. The message has the directory and the remedy."""


class Instance:
    """A supervisor with its workers. Each has a lock of its own on the file, so the last lock ends with the last of them."""

    def __init__(self, directory: Path, database: str) -> None:
        _make_private(directory)
        self.directory, self.database = directory, database
        self.number = 0
        self.lock_fd = -1
        while self.lock_fd < 0:
            self.number = 1 + secrets.randbelow(2**32 - 1)
            with _with_remedy(directory):
                self.lock_fd = _locked_file(directory, self.number, database)

    @property
    def control_socket(self) -> Path:
        return control_socket(self.directory, self.number)

    def lock_in_worker(self) -> None:
        """Give up the supervisor's lock, which was inherited by the fork, for a lock of this process. Raises OSError.

        The file is opened through its descriptor, because its directory may be gone. Closing any descriptor of the file ends
        the process's locks on it, so the old descriptor is closed first.
        """
        fd = os.open(f"/proc/self/fd/{self.lock_fd}", _LOCK_FLAGS | os.O_CLOEXEC)
        os.close(self.lock_fd)
        self.lock_fd = fd
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def unlock_in_monitor(self) -> None:
        """Give up the supervisor's lock, which was inherited by the fork. A monitor holds no lease and needs no lock."""
        os.close(self.lock_fd)

    def retire(self) -> None:
        """Remove the socket and the lock after a clean end, when no lease is left."""
        for path in (self.control_socket, lock_path(self.directory, self.number)):
            path.unlink(missing_ok=True)


def control_socket(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}.sock"


def live_sockets(directory: Path) -> list[Path]:
    """Return the control sockets in the directory. Some may belong to dead instances."""
    return sorted(directory.glob("*.sock")) if directory.is_dir() else []


@contextlib.contextmanager
def dead_instances(directory: Path, database: str) -> Iterator[list[int]]:
    """Lock the dead instances that used this database, and yield their numbers.

    The locks are held meanwhile, so that two monitors do not reclaim the same leases twice.
    """
    with contextlib.ExitStack() as held:
        yield [number for path in sorted(directory.glob(f"*{_SUFFIX}")) if (number := _taken(path, held, database)) is not None]


def forget(directory: Path, number: int) -> None:
    """Remove the files of a dead instance, after its leases are reclaimed."""
    for path in (control_socket(directory, number), lock_path(directory, number)):
        path.unlink(missing_ok=True)


def _taken(path: Path, held: contextlib.ExitStack, database: str) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        held.callback(os.close, fd)
        if _is_locked_by_worker(fd):  # first: on NFS the lock of the next line would count as one of a worker
            return None
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return int(path.stem, 16) if os.read(fd, 64) == database.encode() else None
    except (OSError, ValueError):  # alive, removed meanwhile, or not a lock file
        return None


def _is_locked_by_worker(fd: int) -> bool:
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind: int = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, request))[0]
    return kind != fcntl.F_UNLCK


def _locked_file(directory: Path, number: int, database: str) -> int:
    """Lock the file before it gets its name, so that no other monitor can lock an instance that is just starting.

    The lock is shared, because on NFS flock(2) and fcntl(2) exclude each other.
    """
    path = lock_path(directory, number)
    if path.exists():
        return -1
    unnamed = path.with_suffix(".starting")
    fd = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    os.write(fd, database.encode())
    unnamed.rename(path)
    return fd


def lock_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}{_SUFFIX}"


def is_worker_lock(pid: int, fd: int) -> bool:
    """Report whether the descriptor, which leads to an instance's file, was opened by `lock_in_worker`. Raises OSError."""
    info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
    flags = next(int(line.split()[1], 8) for line in info.splitlines() if line.startswith("flags:"))
    return flags & (os.O_ACCMODE | os.O_APPEND) == _LOCK_FLAGS


def _make_private(directory: Path) -> None:
    if len(os.fsencode(control_socket(directory, 0))) > _MAX_SOCKET_PATH_BYTES:
        raise RuntimeDirectoryError(f"{directory} is too long a path for a socket: set RUNTIME_DIRECTORY to a shorter one")
    with _with_remedy(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat(follow_symlinks=False)
    if found.st_uid != os.getuid() or found.st_mode & 0o022 or not directory.is_dir():
        raise RuntimeDirectoryError(
            f"{directory} is not a private directory of this user: set RUNTIME_DIRECTORY to one that no other user may write"
        )


@contextlib.contextmanager
def _with_remedy(directory: Path) -> Iterator[None]:
    """Convert an OSError, such as a full disk or a missing right, to a RuntimeDirectoryError with its remedy."""
    try:
        yield
    except OSError as error:
        raise RuntimeDirectoryError(
            f"{directory}: {error.strerror}: set RUNTIME_DIRECTORY to a writable directory of this user"
        ) from error
