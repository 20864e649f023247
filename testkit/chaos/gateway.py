"""The network between one host and the database server: a process that passes bytes on, and on order does not.

Orders are lines on its standard input; its end ends the process. `cut` resets all connections, `stall SECONDS` passes nothing
on for so long, `lose N` lets the next N questions reach the server and resets their connections instead of the answers.
"""

import asyncio
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 65_536
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST and no FIN
PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]
STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """Where it listens, and its orders."""

    port: int
    process: subprocess.Popen[str]

    def order(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


@contextmanager
def start_gateway(server_socket: Path) -> Iterator[GatewayProcess]:
    """Before a server's Unix socket. Ends with the block, or with us."""
    command = [sys.executable, "-m", "testkit.chaos.gateway", str(server_socket)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=PROJECT_ROOT, text=True, process_group=0)
    try:
        assert process.stdout is not None
        yield GatewayProcess(int(process.stdout.readline()), process)
    finally:
        process.kill()
        process.communicate(timeout=STOP_SECONDS)


@dataclass(slots=True)
class Gateway:
    """`to_lose` counts the answers that nobody gets; nothing is passed on while `is_open` is not set."""

    server_socket: str
    clients: set[asyncio.StreamWriter] = field(default_factory=set)
    to_lose: int = 0
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        self.is_open.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        while line := await orders.readline():
            self._obey(*line.decode().split())

    def _obey(self, order: str, number: str = "0") -> None:
        match order:
            case "cut":
                for client in self.clients:
                    _reset(client)
            case "lose":
                self.to_lose += int(number)
            case "stall":
                self.is_open.clear()
                asyncio.get_running_loop().call_later(float(number), self.is_open.set)

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection, until one of its sides ends: then both do."""
        self.clients.add(client)
        with suppress(OSError, asyncio.CancelledError):
            from_server, server = await asyncio.open_unix_connection(self.server_socket)
            link = Link(self, client, server)
            there, back = asyncio.create_task(link.ask(reader)), asyncio.create_task(link.answer(from_server))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
            server.close()
        self.clients.discard(client)
        client.close()


@dataclass(slots=True)
class Link:
    """Both ways of one connection."""

    gateway: Gateway
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_losing: bool = False

    async def ask(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self.gateway.is_open.wait()
                if self.gateway.to_lose and not self.is_losing:
                    self.gateway.to_lose -= 1
                    self.is_losing = True
                self.server.write(chunk)
                await self.server.drain()

    async def answer(self, reader: asyncio.StreamReader) -> None:
        """The server answers a small question with one chunk, after its commit."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self.gateway.is_open.wait()
                if self.is_losing:
                    _reset(self.client)
                    return
                self.client.write(chunk)
                await self.client.drain()


def _reset(client: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.transport.abort()


if __name__ == "__main__":
    asyncio.run(Gateway(sys.argv[1]).serve())
