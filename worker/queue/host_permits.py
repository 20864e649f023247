"""Permits where PostgreSQL cannot keep them: names of which the kernel gives each to one process of this host.

A permit is a listening socket under an abstract name (unix(7)). Whoever waits is connected to it, and notices its end; it ends
with its holder, however that ends. Nobody speaks over it.
"""

import errno
import select
import socket


def take(key: int, number: int) -> socket.socket | None:
    """The permit, given back by closing it or with the last reference to it; None if somebody has it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
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
    """Sleeps until the holder lets go, and tries again then. No polling."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
        waiting.setblocking(False)
        if waiting.connect_ex(_name(key, number)) == 0:
            select.select([waiting], [], [], timeout_seconds)
    return take(key, number)


def _name(key: int, number: int) -> bytes:
    """One namespace for all users of a network namespace, as the model's server has."""
    return f"\0learning-supervisor permit {key} {number}".encode()
