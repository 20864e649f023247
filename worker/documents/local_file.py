"""Reads a file below the local root. Called in the decoder's child, because a network disk may hang."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, NoReturn

from worker.core.errors import VisionPermanentError, VisionTransientError
from worker.ipc.contract import ErrorCode

_NEVER_A_FILE = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.EISDIR})  # a later try cannot succeed


def read_file(root: str, storage_key: str, max_bytes: int) -> bytes:
    """Return at most `max_bytes` + 1 bytes of a regular file inside the root.

    Raises VisionPermanentError for a key that no file can have or that leaves the root. Raises VisionTransientError if the
    file does not exist yet or cannot be read.
    """
    with _opened(resolved(root, storage_key)) as file:
        try:
            return file.read(max_bytes + 1)
        except OSError as error:
            raise VisionTransientError(f"file not readable: {type(error).__name__}") from None


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


def _opened(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if Path(f"/proc/self/fd/{fd}").readlink() != path:  # O_NOFOLLOW does not cover the directories in the path
            raise VisionTransientError("the file was moved while it was opened")
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            _refuse("not a regular file")
        return os.fdopen(fd, "rb")
    except OSError as error:
        if error.errno in _NEVER_A_FILE:
            _refuse("no file can have this key")
        raise VisionTransientError(f"file not readable: {type(error).__name__}") from None


def _refuse(message: str) -> NoReturn:
    raise VisionPermanentError(message, ErrorCode.INPUT_UNSUPPORTED) from None
