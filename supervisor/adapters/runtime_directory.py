"""The private directory of this user's instances: its mode, its owner, and the names of each instance's files in it."""

import contextlib
import errno
import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from supervisor.adapters.cannot_start import CannotStart
from supervisor.exit_codes import ATTENTION_NEEDED, CANNOT_CREATE, EX_CONFIG, NO_PERMISSION

_LOCK_SUFFIX, _UNNAMED_SUFFIX, _SOCKET_SUFFIX = ".instance", ".starting", ".sock"
_SUFFIXES = frozenset({_LOCK_SUFFIX, _SOCKET_SUFFIX})
_OWN_SUFFIXES = _SUFFIXES | {_UNNAMED_SUFFIX}
_NUMBER = re.compile(r"[0-9a-f]{8}")
_MAX_SOCKET_PATH_BYTES = 107  # unix(7), without the final zero
_PRIVATE_MODE, _FOR_OTHERS, _WRITABLE_BY_OTHERS = 0o700, 0o077, 0o022
_PASSING = frozenset(  # states of a file system that end without a change of the settings
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)


class RuntimeDirectoryError(CannotStart):
    """The runtime directory is not private or not writable. The message has the directory and the remedy."""

    def __init__(self, message: str, exit_code: int = EX_CONFIG) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StateUnknown(Exception):
    """A command cannot find out whether the service runs. The message has the reason and the remedy."""

    def __init__(self, message: str, exit_code: int = ATTENTION_NEEDED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RuntimeDirectoryForbidden(StateUnknown):
    """This user may not read or search the runtime directory."""

    def __init__(self, directory: Path) -> None:
        remedy = _right_to_use(directory)
        super().__init__(
            f"This user may not use {directory}, so the state of the service is unknown. {remedy}.", exit_code=NO_PERMISSION
        )


class RuntimeDirectoryUnreadable(StateUnknown):
    """The runtime directory exists and cannot be listed, because it is a file or its file system fails."""

    def __init__(self, directory: Path, error: OSError) -> None:
        super().__init__(
            f"{directory} cannot be read ({error.strerror}), so the state of the service is unknown. Do not start it again. If "
            "a file has this name, move it away: a running service makes its directory again within two seconds."
        )


def control_socket(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}{_SOCKET_SUFFIX}"


def lock_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08x}{_LOCK_SUFFIX}"


def unnamed_lock_path(directory: Path, number: int) -> Path:
    """Path of a lock file until it is locked and whole."""
    return directory / f"{number:08x}{_UNNAMED_SUFFIX}"


def lock_paths(directory: Path) -> list[Path]:
    """Paths of all lock files. The stem of each is its instance's number, unless another program made the file."""
    return sorted(directory.glob(f"*{_LOCK_SUFFIX}"))


def known_instances(directory: Path) -> list[int]:
    """Return the numbers of all instances that have a file in the directory. Some may be dead.

    Raises StateUnknown.
    """
    try:
        files = list(directory.iterdir())
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise RuntimeDirectoryForbidden(directory) from error
    except OSError as error:
        raise RuntimeDirectoryUnreadable(directory, error) from error
    return sorted({int(file.stem, 16) for file in files if file.suffix in _SUFFIXES and _NUMBER.fullmatch(file.stem)})


def make_private(directory: Path) -> None:
    """Make the directory, or the one that exists private, whatever the umask. Raises RuntimeDirectoryError.

    A directory with files of other programs is not changed, because they may need its mode.
    """
    if len(os.fsencode(control_socket(directory, 0))) > _MAX_SOCKET_PATH_BYTES:
        raise RuntimeDirectoryError(f"{directory} is too long a path for a socket: set RUNTIME_DIRECTORY to a shorter one")
    with with_remedy(directory):
        _make_directories(directory)
        found = directory.lstat()
        if found.st_uid != os.getuid() or found.st_mode & _WRITABLE_BY_OTHERS or not stat.S_ISDIR(found.st_mode):
            raise RuntimeDirectoryError(
                f"{directory} is not a private directory of this user: set RUNTIME_DIRECTORY to one that no other user may write"
            )
        if found.st_mode & _FOR_OTHERS:
            _close_to_others(directory)


@contextlib.contextmanager
def as_before(directory: Path) -> Iterator[None]:
    """Remove the directories that the block has made, unless another process uses them. Raises RuntimeDirectoryError."""
    with with_remedy(directory):
        missing = _missing_directories(directory)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for path in missing:
                path.rmdir()


@contextlib.contextmanager
def with_remedy(directory: Path) -> Iterator[None]:
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


def _make_directories(directory: Path) -> None:
    """Make the directory and its missing parents for this user only. The umask may have taken rights of the owner."""
    for path in reversed(_missing_directories(directory)):
        path.mkdir(mode=_PRIVATE_MODE, exist_ok=True)
        path.chmod(_PRIVATE_MODE)


def _missing_directories(directory: Path) -> list[Path]:
    """Return the directory and its parents as far as they do not exist, the innermost first. Raises OSError."""
    return [path for path in (directory, *directory.parents) if not path.exists()]


def _close_to_others(directory: Path) -> None:
    if any(path.suffix not in _OWN_SUFFIXES for path in directory.iterdir()):
        raise RuntimeDirectoryError(
            f"{directory} can be entered by other users and contains files of other programs: set RUNTIME_DIRECTORY to a "
            "directory of its own"
        )
    directory.chmod(_PRIVATE_MODE)


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"


def _right_to_use(directory: Path) -> str:
    """Return the remedy for a directory that this user may not read or search."""
    try:
        uid = directory.stat().st_uid
    except OSError:
        return "Run the command as the user of the service"
    return f"Run `chmod 700 {directory}`" if uid == os.getuid() else f"Run the command as {user_name(uid)}"
