"""Another host: a network namespace behind a router that can drop every packet silently."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from testkit.postgres import Cluster
from testkit.waiting import until

HOST_NETWORK = "10.0.0.0/8"  # of all hosts here and in chaos/silent_link.py


class NotAllowed(Exception):
    """The system does not allow a network namespace. The message is its error."""


@dataclass(frozen=True, slots=True)
class FarHost:
    """`wrapper` runs a command on that host. `ours` is the address of this host, `theirs` that of the other one.

    `gateway` is the router's address on our side, `number` distinguishes the hosts of one process.
    """

    wrapper: tuple[str, ...]
    router: tuple[str, ...]
    ours: str
    theirs: str
    gateway: str
    number: int

    def cut(self) -> None:
        """Drop all packets without an error to the sender."""
        for host in (self.ours, self.theirs):
            run(*self.router, "ip", "route", "add", "blackhole", f"{host}/32")

    def heal(self) -> None:
        for host in (self.ours, self.theirs):
            run(*self.router, "ip", "route", "del", "blackhole", f"{host}/32")

    def add_address(self, number: int) -> str:
        """Give the host one more address, of at most 254, and return it."""
        address = f"10.{78 + self.number}.{os.getpid() % 256}.{1 + number}"
        run(*self.wrapper, "ip", "addr", "add", f"{address}/32", "dev", "far")
        run(*self.router, "ip", "route", "add", f"{address}/32", "via", self.theirs)
        run("ip", "route", "add", f"{address}/32", "via", self.gateway, "dev", self.cable_name)
        return address

    def silence(self, address: str) -> None:
        """Drop all packets from and to one address of the host, without an error to the sender."""
        self._rule("add", address)

    def hear(self, address: str) -> None:
        self._rule("del", address)

    def _rule(self, change: str, address: str) -> None:
        for end in ("from", "to"):
            run(*self.router, "ip", "rule", change, end, address, "blackhole")

    @property
    def cable_name(self) -> str:
        return f"far{self.number}-{os.getpid()}"


@contextmanager
def far_host(number: int = 0) -> Iterator[FarHost]:
    """Create the host. Raises NotAllowed, or FileNotFoundError without iproute2."""
    ours, our_router, theirs, their_router = (f"10.77.{os.getpid() % 256}.{8 * number + end}" for end in (2, 1, 6, 5))
    with ExitStack() as undo:
        router, there = undo.enter_context(namespace()), undo.enter_context(namespace())
        host = FarHost(there, router, ours, theirs, our_router, number)
        name = host.cable_name  # one for each run
        cable(name, (), f"{ours}/30", "near0", router, f"{our_router}/30")
        undo.callback(run, "ip", "link", "del", name)  # the kernel ends a namespace later
        cable("far", there, f"{theirs}/30", "near1", router, f"{their_router}/30")
        run(*router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        run("ip", "route", "add", f"{theirs}/32", "via", our_router)
        run(*there, "ip", "route", "add", f"{ours}/32", "via", their_router)
        run(*there, "ip", "link", "set", "lo", "up")
        yield host


def accept_hosts(cluster: Cluster) -> None:
    """Let the server accept connections from the hosts."""
    data = cluster.directory / "data"
    with (data / "postgresql.conf").open("a") as conf:
        conf.write("listen_addresses = '*'\n")
    with (data / "pg_hba.conf").open("a") as hba:
        hba.write(f"host all all {HOST_NETWORK} scram-sha-256\n")
    cluster.halt()
    cluster.resume()


@contextmanager
def namespace() -> Iterator[tuple[str, ...]]:
    """Yield the command prefix that runs a command in a new namespace. The namespace ends with its only process."""
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as holder:
        try:
            ours = Path("/proc/self/ns/net").stat().st_ino
            until(lambda: holder.poll() is not None or Path(f"/proc/{holder.pid}/ns/net").stat().st_ino != ours)
            yield ("nsenter", "--net", "--target", str(holder.pid))
        finally:
            holder.kill()


def cable(name: str, here: tuple[str, ...], address: str, other: str, there: tuple[str, ...], other_address: str) -> None:
    pid = there[-1]
    run(*here, "ip", "link", "add", name, "type", "veth", "peer", "name", other, "netns", pid)
    for place, end, its_address in ((here, name, address), (there, other, other_address)):
        run(*place, "ip", "addr", "add", its_address, "dev", end)
        run(*place, "ip", "link", "set", end, "up")


def run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotAllowed(f"{' '.join(command)}: {done.stderr.strip()}")
