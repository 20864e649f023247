"""The identity of a running supervisor: a random number in a locked file. If the lock can be taken, the instance is dead."""

import contextlib
import fcntl
import os
import pwd
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".instance"
_SUFFIXES = frozenset({_SUFFIX, ".sock"})
_NUMBER = re.compile(r"[0-9a-f]{8}")
_MAX_SOCKET_PATH_BYTES = 107  # unix(7), without the final zero


class RuntimeDirectoryError(Exception):
    """The runtime directory is not private or not writable. The message has the directory and the remedy."""


class RuntimeDirectoryForbidden(Exception):
    """The runtime directory is another user's. The message has the directory and its owner."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"This user may not use {directory}, so the state of the service is unknown. Run the command as {_owner(directory)}."
        )


class Instance:
    """A supervisor with its children. All of them inherit the locked file, so the lock lasts until the last one has ended."""

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

    def retire(self) -> None:
        """Remove the socket and the lock after a clean end, when no lease is left."""
        for path in (self.control_socket, _lock_path(self.directory, self.number)):
            path.unlink(missing_ok=True)


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
    """Report whether a process of the instance holds its lock. Raises RuntimeDirectoryForbidden."""
    try:
        fd = os.open(_lock_path(directory, number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError as error:
        raise RuntimeDirectoryForbidden(directory) from error
    except OSError:  # removed after a clean end, or not a lock file
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two commands do not see each other
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextlib.contextmanager
def dead_instances(directory: Path, database: str) -> Iterator[list[int]]:
    """Lock the dead instances that used this database, and yield their numbers.

    The locks are held meanwhile, so that two monitors do not reclaim the same leases twice.
    """
    with contextlib.ExitStack() as held:
        yield [number for path in sorted(directory.glob(f"*{_SUFFIX}")) if (number := _taken(path, held, database)) is not None]


def forget(directory: Path, number: int) -> None:
    """Remove the files of a dead instance, after its leases are reclaimed."""
    for path in (control_socket(directory, number), _lock_path(directory, number)):
        path.unlink(missing_ok=True)


def _taken(path: Path, held: contextlib.ExitStack, database: str) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        held.callback(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return int(path.stem, 16) if os.read(fd, 64) == database.encode() else None
    except (OSError, ValueError):  # alive, removed meanwhile, or not a lock file
        return None


def _locked_file(directory: Path, number: int, database: str) -> int:
    """Lock the file before it gets its name, so that no other monitor can lock an instance that is just starting."""
    path = _lock_path(directory, number)
    if path.exists():
        return -1
    unnamed = path.with_suffix(".starting")
    fd = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, database.encode())
    unnamed.rename(path)
    return fd


def _lock_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}{_SUFFIX}"


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
