"""Another host: a network namespace behind a router, which can swallow every packet and say nothing."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from testkit.waiting import until

NETWORK = "10.77.0.0/16"


class NotAllowed(Exception):
    """This system lets us make no network of our own; the message says what it said."""


@dataclass(frozen=True, slots=True)
class FarHost:
    """`wrapper` runs a command there, from where we are `ours`; `theirs` is its own address."""

    wrapper: tuple[str, ...]
    router: tuple[str, ...]
    ours: str
    theirs: str

    def cut(self) -> None:
        """No packet arrives any more, and nobody hears of that."""
        for host in (self.ours, self.theirs):
            run(*self.router, "ip", "route", "add", "blackhole", f"{host}/32")

    def heal(self) -> None:
        for host in (self.ours, self.theirs):
            run(*self.router, "ip", "route", "del", "blackhole", f"{host}/32")


@contextmanager
def far_host() -> Iterator[FarHost]:
    """Raises NotAllowed, or FileNotFoundError without iproute2."""
    ours, our_router, theirs, their_router = (f"10.77.{os.getpid() % 256}.{end}" for end in (2, 1, 6, 5))
    name = f"far{os.getpid()}"  # several runs may have one each
    with ExitStack() as undo:
        router, there = undo.enter_context(namespace()), undo.enter_context(namespace())
        cable(name, (), f"{ours}/30", "near0", router, f"{our_router}/30")
        undo.callback(run, "ip", "link", "del", name)  # the kernel takes its time to end a namespace
        cable("far", there, f"{theirs}/30", "near1", router, f"{their_router}/30")
        run(*router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        run("ip", "route", "add", f"{theirs}/32", "via", our_router)
        run(*there, "ip", "route", "add", f"{ours}/32", "via", their_router)
        run(*there, "ip", "link", "set", "lo", "up")
        yield FarHost(there, router, ours, theirs)


@contextmanager
def namespace() -> Iterator[tuple[str, ...]]:
    """The command that runs another one in it; it ends with its only process."""
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
