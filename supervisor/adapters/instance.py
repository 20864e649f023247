"""Who we are: a random number in a locked file. An instance whose lock can be taken is dead, and so are its leases."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".instance"
_MAX_SOCKET_PATH_BYTES = 107  # unix(7), without the final zero


class RuntimeDirectoryError(Exception):
    """The runtime directory is not ours alone, or nothing can be put there. Names the directory and the remedy."""


class Instance:
    """The lock lives as long as the open file, which every child inherits: the last of them gone, the lock can be taken."""

    def __init__(self, directory: Path, database: str) -> None:
        _make_private(directory)
        self.directory, self.database = directory, database
        self.number = 0
        self.lock_fd = -1
        while self.lock_fd < 0:
            self.number = 1 + secrets.randbelow(2**32 - 1)
            with _refusing(directory):
                self.lock_fd = _locked_file(directory, self.number, database)

    @property
    def control_socket(self) -> Path:
        return control_socket(self.directory, self.number)

    def retire(self) -> None:
        """A clean end leaves nothing to look at."""
        for path in (self.control_socket, _lock_path(self.directory, self.number)):
            path.unlink(missing_ok=True)


def control_socket(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}.sock"


def live_sockets(directory: Path) -> list[Path]:
    """The control sockets in the directory, for `status`; some may belong to the dead."""
    return sorted(directory.glob("*.sock")) if directory.is_dir() else []


@contextlib.contextmanager
def dead_instances(directory: Path, database: str) -> Iterator[list[int]]:
    """The numbers of dead instances that used this database: of another one's leases we know nothing.

    Their locks are held meanwhile, so that two monitors do not free the same leases twice.
    """
    with contextlib.ExitStack() as held:
        yield [number for path in sorted(directory.glob(f"*{_SUFFIX}")) if (number := _taken(path, held, database)) is not None]


def forget(directory: Path, number: int) -> None:
    """Removes what a dead instance left behind, once its leases are free."""
    for path in (control_socket(directory, number), _lock_path(directory, number)):
        path.unlink(missing_ok=True)


def _taken(path: Path, held: contextlib.ExitStack, database: str) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        held.callback(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return int(path.stem, 16) if os.read(fd, 64) == database.encode() else None
    except (OSError, ValueError):  # alive, gone in the meantime, or no file of ours
        return None


def _locked_file(directory: Path, number: int, database: str) -> int:
    """The lock is taken before the file has its name: nobody can take a lock of an instance that is just starting."""
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


def _make_private(directory: Path) -> None:
    if len(os.fsencode(control_socket(directory, 0))) > _MAX_SOCKET_PATH_BYTES:
        raise RuntimeDirectoryError(f"{directory} is too long for a socket in it: set RUNTIME_DIRECTORY to a shorter one")
    with _refusing(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat(follow_symlinks=False)
    if found.st_uid != os.getuid() or found.st_mode & 0o022 or not directory.is_dir():
        raise RuntimeDirectoryError(f"{directory} is not a private directory of yours: set RUNTIME_DIRECTORY to one that is")


@contextlib.contextmanager
def _refusing(directory: Path) -> Iterator[None]:
    """A full disk or a missing right is told with its remedy."""
    try:
        yield
    except OSError as error:
        raise RuntimeDirectoryError(f"{directory}: {error.strerror}: set RUNTIME_DIRECTORY to one of your own") from error
