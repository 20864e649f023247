"""Reads a file below the local root in a child of the worker: no time-out ends a system call that waits for a network disk.

The child's answer is one byte for its kind, the content or the reason, and one byte for its end.
"""

import errno
import functools
import os
import select
import stat
import time
from pathlib import Path
from typing import BinaryIO, NoReturn

from worker.core.errors import VisionPermanentError, VisionTransientError
from worker.documents.sandbox import Sandbox, sandboxed
from worker.ipc.contract import ErrorCode

READ_SECONDS = 8.0  # for one file, as for a download. The deadline for reading includes it
_NEVER_A_FILE = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.EISDIR})  # a later try cannot succeed
_CONTENT, _UNSUPPORTED, _UNREADABLE, _END = b"C", b"U", b"R", b"."
_PIECE_BYTES = 2**20


class FileTimeout(VisionTransientError):
    """The disk did not return the file in time."""


def read_file(root: str, storage_key: str, max_bytes: int) -> bytes:
    """Return at most `max_bytes` + 1 bytes of a regular file inside the root.

    Raises VisionPermanentError for a key that no file can have or that leaves the root. Raises VisionTransientError, also
    as FileTimeout, if the file does not exist yet or cannot be read.
    """
    until_seconds = time.monotonic() + READ_SECONDS
    try:
        with sandboxed(functools.partial(_send_file, root, storage_key, max_bytes)) as child:
            answer = _received(child, until_seconds)
    except OSError as error:
        raise VisionTransientError(f"no child to read a file: {type(error).__name__}") from None
    kind, end, content = bytes(answer[:1]), bytes(answer[-1:]), bytes(memoryview(answer)[1:-1])
    if end != _END:
        raise VisionTransientError("the child ended before the file did")
    if kind == _UNSUPPORTED:
        raise VisionPermanentError(content.decode(), ErrorCode.INPUT_UNSUPPORTED)
    if kind == _UNREADABLE:
        raise VisionTransientError(content.decode())
    return content


def _received(child: Sandbox, until_seconds: float) -> bytearray:
    readable, answer = select.poll(), bytearray()
    readable.register(child.fd, select.POLLIN)
    while readable.poll(max(0.0, until_seconds - time.monotonic()) * 1000):
        piece = os.read(child.fd, _PIECE_BYTES)
        if not piece:
            return answer
        answer += piece
    raise FileTimeout("the disk did not return the file in time")


# In the child


def _send_file(root: str, storage_key: str, max_bytes: int, fd: int) -> None:
    with os.fdopen(fd, "wb") as pipe:
        try:
            with _opened(resolved(root, storage_key)) as file:
                pipe.write(_CONTENT)
                _copy(file, pipe, max_bytes + 1)
        except VisionPermanentError as error:
            pipe.write(_UNSUPPORTED + str(error).encode())
        except VisionTransientError as error:
            pipe.write(_UNREADABLE + str(error).encode())
        pipe.write(_END)


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


def _copy(file: BinaryIO, pipe: BinaryIO, most_bytes: int) -> None:
    """Copy the content. An error of the disk ends the child without the last byte of its answer."""
    left_bytes = most_bytes
    while piece := file.read(min(left_bytes, _PIECE_BYTES)):
        pipe.write(piece)
        left_bytes -= len(piece)


def _refuse(message: str) -> NoReturn:
    raise VisionPermanentError(message, ErrorCode.INPUT_UNSUPPORTED) from None
