"""The time at which a forked process ran its first line, written by that process to a pipe."""

import os
import select
import struct
import time
from dataclasses import dataclass

from testkit.waiting import LIMIT_SECONDS

_LAYOUT = struct.Struct("<iiq")  # below PIPE_BUF, so writes are atomic


@dataclass(frozen=True, slots=True)
class Stamp:
    """`at_ns` is the monotonic clock, which is the same for all processes of a host."""

    pid: int
    slot: int
    at_ns: int


def write_stamp(fd: int, slot: int) -> None:
    """Write a stamp with the time before the write."""
    os.write(fd, _LAYOUT.pack(os.getpid(), slot, time.monotonic_ns()))


def next_stamp(fd: int) -> Stamp:
    """Wait for the next stamp. Raises TimeoutError."""
    if not select.select([fd], [], [], LIMIT_SECONDS)[0]:
        raise TimeoutError(f"no process was forked within {LIMIT_SECONDS:g} s")
    return Stamp(*_LAYOUT.unpack(os.read(fd, _LAYOUT.size)))
