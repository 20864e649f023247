"""Reads a file below the local root. Called in the decoder's child, because a network disk may hang."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, NoReturn

from worker.core.file_refusals import KeyRefused
from worker.documents.errors import FileUnavailable, RootUnreadable, StoreFileMissing

_NEVER_A_FILE = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.EISDIR})  # a later try cannot succeed
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})


def read_file(root: str, storage_key: str, max_bytes: int) -> bytes:
    """Return at most `max_bytes` + 1 bytes of a regular file inside the root.

    Raises KeyRefused for a key that no file can have or that leaves the root. Raises FileUnavailable if the
    file does not exist yet or cannot be read.
    """
    try:
        with _opened(resolved(root, storage_key)) as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise _unavailable(error, root, storage_key) from None


def resolved(root: str, storage_key: str) -> Path:
    """Return the path with all links resolved, which must be inside the root."""
    try:
        directory = Path(root).resolve()
        path = (directory / storage_key).resolve()
    except (ValueError, RuntimeError):  # a key that cannot be encoded, or (until Python 3.12) a loop of links
        _refuse("no file can have this key")
    if not path.is_relative_to(directory):
        _refuse("storage key leaves the root")
    return path


def read_directories(root: str, bucket: str) -> None:
    """List the beginning of the root and of the bucket in it. Raises RootUnreadable."""
    try:
        for directory in (Path(root), Path(root) / bucket):
            with os.scandir(directory) as entries:
                next(entries, None)
    except OSError as error:
        raise RootUnreadable(f"directory not readable: {type(error).__name__}") from None


def _opened(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NEVER_A_FILE:
            _refuse("no file can have this key")
        raise
    if Path(f"/proc/self/fd/{fd}").readlink() != path:  # O_NOFOLLOW does not cover the directories in the path
        raise StoreFileMissing("the file was moved while it was opened")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        _refuse("not a regular file")
    return os.fdopen(fd, "rb")


def _unavailable(error: OSError, root: str, storage_key: str) -> FileUnavailable:
    """A file is missing only if its bucket can be read: an empty mount point has neither."""
    message = f"file not readable: {type(error).__name__}"
    if error.errno not in _MISSING:
        return RootUnreadable(message)
    try:
        read_directories(root, storage_key.partition("/")[0] if "/" in storage_key else "")
    except RootUnreadable as unreadable:
        return unreadable
    return StoreFileMissing(message)


def _refuse(message: str) -> NoReturn:
    raise KeyRefused(message) from None
