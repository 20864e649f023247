"""The lock file of an instance, with two kinds of locks on it.

A lock by fcntl(2) belongs to a process: the supervisor and each worker have one, and no fork inherits it, whatever descriptors it
keeps. A lock by flock(2) belongs to an open file: the supervisor also has one, by which older versions find it alive. Both are
shared, because on NFS the two kinds exclude each other.
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

from supervisor.adapters.runtime_directory import lock_path, unnamed_lock_path

_RECORD_LOCK = struct.Struct("hhqqi0q")  # struct flock of fcntl(2): type, whence, start, length, pid
_WORKER_FLAGS = os.O_RDONLY | os.O_APPEND  # no other program has a reason to combine these two


def create_locked(directory: Path, number: int, database: str) -> int:
    """Make the locked file and return its descriptor, -1 if the number is taken. Raises OSError.

    A failure in the middle, as on a full disk, leaves nothing behind.
    """
    try:
        return _locked_file(directory, number, database)
    except OSError:
        with contextlib.suppress(OSError):
            unnamed_lock_path(directory, number).unlink(missing_ok=True)
        raise


def relocked_in_worker(fd: int) -> int:
    """Give up the supervisor's descriptor for one with a lock of this process, and return it. Raises OSError.

    The file is opened through its descriptor, because its directory may be gone. Closing any descriptor of the file ends the
    process's locks on it, so the old descriptor is closed first.
    """
    own_fd = os.open(f"/proc/self/fd/{fd}", _WORKER_FLAGS | os.O_CLOEXEC)
    os.close(fd)
    fcntl.lockf(own_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return own_fd


def is_worker_lock(pid: int, fd: int) -> bool:
    """Report whether the descriptor, which leads to a lock file, is from `relocked_in_worker`. Raises OSError."""
    info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
    flags = next(int(line.split()[1], 8) for line in info.splitlines() if line.startswith("flags:"))
    return flags & (os.O_ACCMODE | os.O_APPEND) == _WORKER_FLAGS


def opened(path: Path, access: int) -> int:
    """Open a regular file without waiting. Raises OSError, also for a pipe or a device of this name, whose read could block."""
    fd = os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return fd


def is_open_as(path: Path, fd: int) -> bool:
    """Report whether the name leads to the open file. It is not opened, because closing it would end a lock of this process."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def has_process_lock(fd: int) -> bool:
    """Report whether another process has a lock by fcntl(2). This takes no lock."""
    request = _RECORD_LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind: int = _RECORD_LOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, request))[0]
    return kind != fcntl.F_UNLCK


def is_unlocked(fd: int) -> bool:
    """Report whether no process of any version has a lock, and keep other searches out with a lock of this descriptor.

    The lock by fcntl(2) is queried first, because on NFS the one by flock(2) would count as one of a worker.
    """
    if has_process_lock(fd):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _locked_file(directory: Path, number: int, database: str) -> int:
    """Lock the file before it gets its name, so that no other monitor can lock an instance that is just starting."""
    path, unnamed = lock_path(directory, number), unnamed_lock_path(directory, number)
    if path.exists():
        return -1
    fd = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    fcntl.lockf(fd, fcntl.LOCK_SH)
    _write_whole(fd, database.encode())
    unnamed.rename(path)
    return fd


def _write_whole(fd: int, content: bytes) -> None:
    """Write the few bytes at once. Raises OSError also if the file system takes only a part of them."""
    if os.write(fd, content) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
