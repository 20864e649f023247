"""The socket of systemd for a service's notifications, each with the pid of its sender."""

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testkit.waiting import LIMIT_SECONDS

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


@dataclass(slots=True)
class ServiceManager:
    """`received` has all lines, `senders` the pids of all senders."""

    socket: socket.socket
    address: str
    received: list[str] = field(default_factory=list)
    senders: set[int] = field(default_factory=set)

    def take(self) -> list[str]:
        """Return the lines since the last call, without waiting."""
        lines: list[str] = []
        while message := self._received(0):
            lines += message
        return lines

    def until_received(self, wanted: str) -> list[str]:
        """Wait for a line with this beginning, and return all lines up to it."""
        lines: list[str] = []
        deadline = time.monotonic() + LIMIT_SECONDS
        while not any(line.startswith(wanted) for line in lines):
            assert time.monotonic() < deadline, f"{wanted} was not received, only {lines}"
            lines += self._received(LIMIT_SECONDS)
        return lines

    def _received(self, within_seconds: float) -> list[str]:
        if not select.select([self.socket], [], [], within_seconds)[0]:
            return []
        data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        self.senders |= {_CREDENTIALS.unpack(content)[0] for _, _, content in ancillary}
        lines = data.decode().splitlines()
        self.received += lines
        return lines


@contextmanager
def listening(directory: Path, *, is_abstract: bool = False) -> Iterator[ServiceManager]:
    """Open the socket. `address` is the value for NOTIFY_SOCKET."""
    path = str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taking:
        taking.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        taking.bind("\0" + path if is_abstract else path)
        try:
            yield ServiceManager(taking, f"@{path}" if is_abstract else path)
        finally:
            if not is_abstract:
                Path(path).unlink()
