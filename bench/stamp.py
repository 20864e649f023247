"""When a forked process ran its first line: written into a pipe by itself, read by who waits for it."""

import os
import select
import struct
import time
from dataclasses import dataclass

from testkit.waiting import LIMIT_SECONDS

_LAYOUT = struct.Struct("<iiq")  # far below PIPE_BUF: written whole


@dataclass(frozen=True, slots=True)
class Stamp:
    """`at_ns` is of the monotonic clock, which all processes of a host share."""

    pid: int
    slot: int
    at_ns: int


def write_stamp(fd: int, slot: int) -> None:
    """The clock is read before the write."""
    os.write(fd, _LAYOUT.pack(os.getpid(), slot, time.monotonic_ns()))


def next_stamp(fd: int) -> Stamp:
    """Waits for it. Raises TimeoutError."""
    stamp = stamp_within(fd, LIMIT_SECONDS)
    if stamp is None:
        raise TimeoutError(f"nobody was forked within {LIMIT_SECONDS:g} s")
    return stamp


def stamp_within(fd: int, timeout_seconds: float) -> Stamp | None:
    """None if there is none in time."""
    ready, _, _ = select.select([fd], [], [], max(0.0, timeout_seconds))
    return Stamp(*_LAYOUT.unpack(os.read(fd, _LAYOUT.size))) if ready else None
