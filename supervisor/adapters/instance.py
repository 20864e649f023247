"""The identity of a running supervisor: a random number in a locked file. Without any lock on the file, the instance is dead.

The supervisor and each worker have a lock by fcntl(2), which belongs to the process: a process that an adapter forks does not
inherit it, whatever descriptors it keeps. The supervisor also has one by flock(2), by which older versions find it alive.
"""

import contextlib
import errno
import fcntl
import os
import pwd
import re
import secrets
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from supervisor.adapters.cannot_start import CannotStart
from supervisor.exit_codes import CANNOT_CREATE, EX_CONFIG

_SUFFIX, _UNNAMED_SUFFIX, _SOCKET_SUFFIX = ".instance", ".starting", ".sock"
_SUFFIXES = frozenset({_SUFFIX, _SOCKET_SUFFIX})
_OWN_SUFFIXES = _SUFFIXES | {_UNNAMED_SUFFIX}
_NUMBER = re.compile(r"[0-9a-f]{8}")
_MAX_SOCKET_PATH_BYTES = 107  # unix(7), without the final zero
_FLOCK = struct.Struct("hhqqi0q")  # struct flock of fcntl(2): type, whence, start, length, pid
_LOCK_FLAGS = os.O_RDONLY | os.O_APPEND  # no other program has a reason to combine these two
_PRIVATE_MODE, _FOR_OTHERS, _WRITABLE_BY_OTHERS = 0o700, 0o077, 0o022
_PASSING = frozenset(  # states of a file system that end without a change of the settings
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)


class RuntimeDirectoryError(CannotStart):
    """The runtime directory is not private or not writable. The message has the directory and the remedy."""

    def __init__(self, message: str, exit_code: int = EX_CONFIG) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RuntimeDirectoryForbidden(Exception):
    """The runtime directory is another user's. The message has the directory and its owner."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"This user may not use {directory}, so the state of the service is unknown. Run the command as {_owner(directory)}."
        )


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
                self.lock_fd = _whole_locked_file(directory, self.number, database)

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

    def restore(self) -> bool:
        """Make the directory and the lock file again if they were removed. True if one was. Raises RuntimeDirectoryError.

        Without the file no other instance would find the leases after a death of this one. The number stays, because the
        lease keys name it. A former file that still has a name, as in a renamed directory, stays locked.
        """
        path, former_fd = lock_path(self.directory, self.number), self.lock_fd
        if _is_open_as(path, former_fd):
            return False
        _make_private(self.directory)
        with _with_remedy(self.directory):
            path.unlink(missing_ok=True)
            self.lock_fd = _whole_locked_file(self.directory, self.number, self.database)
        if os.fstat(former_fd).st_nlink == 0:
            os.close(former_fd)
        return True

    def retire(self) -> None:
        """Remove the socket and the lock after a clean end, when no lease is left.

        A file that cannot be removed does no harm: the next instance finds no lease of this one and removes it.
        """
        forget(self.directory, self.number)


def control_socket(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}.sock"


def known_instances(directory: Path) -> list[int]:
    """Return the numbers of all instances that have a file in the directory. Some may be dead.

    Raises RuntimeDirectoryForbidden.
    """
    try:
        files = list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:
        raise RuntimeDirectoryForbidden(directory) from error
    return sorted({int(file.stem, 16) for file in files if file.suffix in _SUFFIXES and _NUMBER.fullmatch(file.stem)})


def is_alive(directory: Path, number: int) -> bool:
    """Report whether a process of the instance holds its lock. No lock is taken. Raises RuntimeDirectoryForbidden."""
    try:
        fd = _opened_lock(lock_path(directory, number), os.O_RDONLY)
    except PermissionError as error:
        raise RuntimeDirectoryForbidden(directory) from error
    except OSError:  # removed after a clean end, or not a lock file
        return False
    try:
        return _has_record_lock(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def dead_instances(directory: Path, database: str) -> Iterator[list[int]]:
    """Lock the dead instances that used this database, and yield their numbers.

    The locks are held meanwhile, so that two monitors do not reclaim the same leases twice.
    """
    with contextlib.ExitStack() as held:
        yield [number for path in sorted(directory.glob(f"*{_SUFFIX}")) if (number := _taken(path, held, database)) is not None]


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
    try:
        fd = _opened_lock(path, os.O_RDWR)
        held.callback(os.close, fd)
        if _has_record_lock(fd):  # first: on NFS the lock of the next line would count as one of a worker
            return None
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return int(path.stem, 16) if os.read(fd, 64) == database.encode() else None
    except (OSError, ValueError):  # alive, removed meanwhile, or not a lock file
        return None


def _has_record_lock(fd: int) -> bool:
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind: int = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, request))[0]
    return kind != fcntl.F_UNLCK


def _opened_lock(path: Path, access: int) -> int:
    """Open a regular file without waiting. Raises OSError, also for a pipe or a device of this name, whose read could block."""
    fd = os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return fd


def _is_open_as(path: Path, fd: int) -> bool:
    """Report whether the name leads to the open file. It is not opened, because closing it would end a lock of this process."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def _whole_locked_file(directory: Path, number: int, database: str) -> int:
    """Make the locked file, and leave nothing behind if that fails in the middle, as on a full disk."""
    try:
        return _locked_file(directory, number, database)
    except OSError:
        with contextlib.suppress(OSError):
            lock_path(directory, number).with_suffix(_UNNAMED_SUFFIX).unlink(missing_ok=True)
        raise


def _locked_file(directory: Path, number: int, database: str) -> int:
    """Lock the file before it gets its name, so that no other monitor can lock an instance that is just starting.

    The lock is shared, because on NFS flock(2) and fcntl(2) exclude each other.
    """
    path = lock_path(directory, number)
    if path.exists():
        return -1
    unnamed = path.with_suffix(_UNNAMED_SUFFIX)
    fd = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    fcntl.lockf(fd, fcntl.LOCK_SH)
    _write_whole(fd, database.encode())
    unnamed.rename(path)
    return fd


def lock_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}{_SUFFIX}"


def is_worker_lock(pid: int, fd: int) -> bool:
    """Report whether the descriptor, which leads to an instance's file, was opened by `lock_in_worker`. Raises OSError."""
    info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
    flags = next(int(line.split()[1], 8) for line in info.splitlines() if line.startswith("flags:"))
    return flags & (os.O_ACCMODE | os.O_APPEND) == _LOCK_FLAGS


def _write_whole(fd: int, content: bytes) -> None:
    """Write the few bytes at once. Raises OSError also if the file system takes only a part of them."""
    if os.write(fd, content) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _owner(directory: Path) -> str:
    """Return the name of the directory's owner, or the number of a user without a name."""
    try:
        uid = directory.stat().st_uid
        return pwd.getpwuid(uid).pw_name
    except OSError:
        return "the user of the service"
    except KeyError:
        return f"the user {uid}"


def _make_private(directory: Path) -> None:
    """Make the directory, or the one that exists private, whatever the umask. Raises RuntimeDirectoryError.

    A directory with files of other programs is not changed, because they may need its mode.
    """
    if len(os.fsencode(control_socket(directory, 0))) > _MAX_SOCKET_PATH_BYTES:
        raise RuntimeDirectoryError(f"{directory} is too long a path for a socket: set RUNTIME_DIRECTORY to a shorter one")
    with _with_remedy(directory):
        _make_directories(directory)
        found = directory.lstat()
        if found.st_uid != os.getuid() or found.st_mode & _WRITABLE_BY_OTHERS or not stat.S_ISDIR(found.st_mode):
            raise RuntimeDirectoryError(
                f"{directory} is not a private directory of this user: set RUNTIME_DIRECTORY to one that no other user may write"
            )
        if found.st_mode & _FOR_OTHERS:
            _close_to_others(directory)


def _make_directories(directory: Path) -> None:
    """Make the directory and its missing parents for this user only. The umask may have taken rights of the owner."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=_PRIVATE_MODE, exist_ok=True)
        path.chmod(_PRIVATE_MODE)


def _close_to_others(directory: Path) -> None:
    if any(path.suffix not in _OWN_SUFFIXES for path in directory.iterdir()):
        raise RuntimeDirectoryError(
            f"{directory} can be entered by other users and contains files of other programs: set RUNTIME_DIRECTORY to a "
            "directory of its own"
        )
    directory.chmod(_PRIVATE_MODE)


@contextlib.contextmanager
def _with_remedy(directory: Path) -> Iterator[None]:
    """Convert an OSError, such as a full disk or a missing right, to a RuntimeDirectoryError with its remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _PASSING:
            remedy = "make room there or make it writable again, then start again"
            raise RuntimeDirectoryError(f"RUNTIME_DIRECTORY {directory}: {error.strerror}: {remedy}", CANNOT_CREATE) from error
        raise RuntimeDirectoryError(
            f"{directory}: {error.strerror}: set RUNTIME_DIRECTORY to a writable directory of this user"
        ) from error
