"""Lists the root and its bucket in a child of the monitor. A system call that waits for a dead network disk has no time-out."""

import asyncio
import os

from worker.documents.errors import FileTimeout, RootUnreadable
from worker.documents.local_file import read_directories
from worker.documents.sandbox import Sandbox, left_children, sandboxed

READABLE = b"readable"


async def read_in_child(root: str, bucket: str, timeout_seconds: float) -> str:
    """Return the class of the error, empty if both directories can be listed.

    While a child of an earlier probe waits in the kernel, the disk still hangs, and no further child is started.
    """
    if left_children():
        return FileTimeout.__name__
    try:
        with sandboxed(lambda fd: _read(root, bucket, fd)) as child:
            return await _result(child, timeout_seconds)
    except OSError:
        return RootUnreadable.__name__  # no child could be started


def _read(root: str, bucket: str, fd: int) -> None:
    """In the child. It writes nothing if a directory cannot be read."""
    read_directories(root, bucket)
    os.write(fd, READABLE)


async def _result(child: Sandbox, timeout_seconds: float) -> str:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(child.fd, ended.set)
    try:
        async with asyncio.timeout(timeout_seconds):
            await ended.wait()
    except TimeoutError:
        return FileTimeout.__name__
    finally:
        loop.remove_reader(child.fd)
    return "" if os.read(child.fd, len(READABLE)) == READABLE else RootUnreadable.__name__
