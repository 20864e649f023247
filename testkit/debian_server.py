"""A PostgreSQL server of Debian: TLS with a certificate of a new authority, or messages in German.

The server of the wheel has neither OpenSSL nor translations.
"""

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from testkit.postgres import Cluster, server_account

DEBIAN_BINARIES = Path("/usr/lib/postgresql/15/bin")
GERMAN = Path("/usr/share/locale/de/LC_MESSAGES/postgres-15.mo")
PLAIN_LOCALE = Path("/usr/lib/locale/C.utf8")
GERMAN_NAME = "de_DE.UTF-8"
HOST = "localhost"
NEW_AUTHORITY = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=school -keyout authority.key -out authority.crt"
NEW_REQUEST = f"req -newkey rsa:2048 -nodes -subj /CN={HOST} -keyout server.key -out server.csr"
SIGN = "x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 -out server.crt -extfile names"
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def make_certificates(directory: Path) -> Path:
    """Make an authority and a server's certificate for localhost, and return the authority's certificate."""
    directory.mkdir()
    (directory / "names").write_text(f"subjectAltName=DNS:{HOST}\n")
    for command in (NEW_AUTHORITY, NEW_REQUEST, SIGN):
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)
    return directory / "authority.crt"


def encrypt(cluster: Cluster, certificates: Path) -> None:
    """Restart the server with TLS."""
    data, account = cluster.directory / "data", server_account()
    for name in ("server.key", "server.crt"):
        shutil.copy(certificates / name, data / name)
        (data / name).chmod(0o600)
        if account:
            os.chown(data / name, account.pw_uid, account.pw_gid)
    with (data / "postgresql.conf").open("a") as conf:
        conf.write("ssl = on\n")
    cluster.halt()
    cluster.resume()


@contextmanager
def german_locale() -> Iterator[Path]:
    """Make a German locale for the length of the block, and yield the value of LOCPATH.

    It is a copy of the locale that each system has. The C library chooses the translation by the name.
    """
    with tempfile.TemporaryDirectory(prefix="locale-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the server may run as another user
        shutil.copytree(PLAIN_LOCALE, directory / GERMAN_NAME)
        yield directory


@dataclass(slots=True)
class Relay:
    """Passes bytes on between clients and a server, so that encrypted connections can be cut, too."""

    target: tuple[str, int]
    listener: socket.socket
    open: set[socket.socket] = field(default_factory=set)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def cut(self) -> int:
        """Reset all connections, and return how many there were."""
        cut = list(self.open)
        for end in cut:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
                end.shutdown(socket.SHUT_RD)  # ends the thread's wait, and its close sends the reset
        return len(cut) // 2

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                for source, sink in ((client, server), (server, client)):
                    self.open.add(source)
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65_536):
                sink.sendall(part)
        for end in (source, sink):
            self.open.discard(end)
            end.close()


@contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    """Run a relay to a port of this host for the length of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(("127.0.0.1", port), listener)
        threading.Thread(target=relay.serve, daemon=True).start()
        yield relay
        listener.shutdown(socket.SHUT_RDWR)
        relay.cut()
