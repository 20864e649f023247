"""Permits of one host, for when a pooler shares the PostgreSQL sessions.

A permit is a listening socket under an abstract name (unix(7)), which the kernel gives to one process at a time. A waiting
process connects to the socket and sees the end of the connection when the holder closes it or dies. No data is sent.
"""

import errno
import os
import re
import select
import socket
import struct
import time
from pathlib import Path

from worker.ipc.descriptors import opening, unshared

_WORKER = re.compile(r"worker ([0-9a-f]{8})")
_CREDENTIALS = struct.Struct("iII")  # ucred: pid, uid, gid


def take(key: int, number: int) -> socket.socket | None:
    """Return the permit, or None if another process holds it. Closing the socket gives the permit back."""
    with opening():
        sock = unshared(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        sock.bind(_name(key, number))
        sock.listen(socket.SOMAXCONN)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return sock


def wait(key: int, number: int, timeout_seconds: float) -> socket.socket | None:
    """Sleep until the holder gives the permit back, then try once to take it. No polling."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
        waiting.setblocking(False)
        error = waiting.connect_ex(_name(key, number))
        if error == 0:
            select.select([waiting], [], [], timeout_seconds)
        elif error == errno.EAGAIN:  # too many have waited at this socket: its end cannot be awaited
            time.sleep(timeout_seconds)
    return take(key, number)


def holder_pid(key: int, number: int) -> int | None:
    """Return the process that has taken the permit. None if it is free, or if its holder cannot be seen from here."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        if asking.connect_ex(_name(key, number)) != 0:
            return None
        pid, _, _ = _CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid or None


def process_name(incarnation: int) -> str:
    """Return the name of a worker's process, at most 15 bytes. Every user may read it, so it shows whose permit a socket is."""
    return f"worker {incarnation:08x}"


def worker_of(pid: int) -> str | None:
    """Return the last eight digits of the lease keys of this process. None if its name is not that of a worker."""
    try:
        found = _WORKER.fullmatch(Path(f"/proc/{pid}/comm").read_text().rstrip("\n"))
    except OSError:  # it has ended
        return None
    return found[1] if found else None


def is_alive(pid: int) -> bool:
    """Report whether the process exists. A zombie does, until it is reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _name(key: int, number: int) -> bytes:
    """Return a name that is shared by all users of the network namespace, as the model server's port is."""
    return f"\0learning-supervisor permit {key} {number}".encode()
