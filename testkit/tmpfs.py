"""Small file systems in memory, which can be full or read-only. Mounting needs root or a namespace of its own."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MS_RDONLY, MS_REMOUNT, MS_BIND, MNT_DETACH = 1, 32, 4096, 2
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs at the path for the length of the block. Raises OSError."""
    _mount(path, options, 0)
    try:
        yield
    finally:
        _libc.umount2(os.fsencode(path), MNT_DETACH)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Cover a directory by a read-only view of itself. Files that are open for writing would forbid a change of its own mount."""
    _mount(path, "", MS_BIND)
    try:
        _mount(path, "", MS_REMOUNT | MS_BIND | MS_RDONLY)
        yield
    finally:
        _libc.umount2(os.fsencode(path), MNT_DETACH)


def fill(path: Path) -> None:
    """Write to the file until not one byte is left."""
    for block in (1 << 20, 1):
        with path.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(block))


def _mount(path: Path, options: str, flags: int) -> None:
    if _libc.mount(os.fsencode(path), os.fsencode(path), b"tmpfs", flags, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
