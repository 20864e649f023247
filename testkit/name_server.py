"""A DNS server on loopback that is silent until a test lets it answer. Every name is this host.

A command in `wrapper` reads other files of the resolver, in a mount namespace of its own.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PORT = 53
_HEADER_BYTES, _TYPE_A = 12, b"\0\1"
_ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + bytes([127, 0, 0, 1])  # the question's name, A, IN, not to be kept
_BIND = 'mount --bind "$0/resolv.conf" /etc/resolv.conf && mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"'


@dataclass(slots=True)
class NameServer:
    """`was_asked` is set by each question, answered or not."""

    address: str
    answers: bool = False
    was_asked: bool = False


@contextmanager
def name_server(address: str, *, answers: bool = False) -> Iterator[NameServer]:
    """Run a server for the length of the block. Raises PermissionError if this process may not use its port."""
    server = NameServer(address, answers)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, PORT))
        thread = threading.Thread(target=_serve, args=(sock, server))
        thread.start()
        try:
            yield server
        finally:
            sock.sendto(b"", (address, PORT))  # ends the thread
            thread.join()


def _serve(sock: socket.socket, server: NameServer) -> None:
    with suppress(OSError):
        while True:
            question, client = sock.recvfrom(512)
            if not question:
                return
            server.was_asked = True
            if server.answers:
                sock.sendto(_answer(question), client)


def _answer(question: bytes) -> bytes:
    """One address for a question of type A, no record for any other."""
    end = question.index(b"\0", _HEADER_BYTES) + 1
    is_address = question[end : end + 2] == _TYPE_A
    counts = b"\0\1" + (b"\0\1" if is_address else b"\0\0") + b"\0\0\0\0"
    return question[:2] + b"\x81\x80" + counts + question[_HEADER_BYTES : end + 4] + (_ADDRESS if is_address else b"")


def wrapper(directory: Path, *servers: NameServer) -> tuple[str, ...]:
    """Return the command prefix that runs a command with these servers as the only source beside /etc/hosts."""
    (directory / "resolv.conf").write_text("".join(f"nameserver {server.address}\n" for server in servers))
    (directory / "nsswitch.conf").write_text("hosts: files dns\npasswd: files\ngroup: files\n")
    return ("unshare", "--mount", "sh", "-c", _BIND, str(directory))
