"""Another host: a network namespace behind a router, which can swallow every packet and say nothing."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.condition import eventually

OURS, OUR_ROUTER = "10.77.2.2", "10.77.2.1"
THEIRS, THEIR_ROUTER = "10.77.1.2", "10.77.1.1"


@dataclass(frozen=True, slots=True)
class FarHost:
    """`wrapper` runs a command there; from there we are OURS."""

    wrapper: tuple[str, ...]
    router: tuple[str, ...]

    def cut(self) -> None:
        """No packet arrives any more, and nobody hears of that."""
        for host in (OURS, THEIRS):
            run(*self.router, "ip", "route", "add", "blackhole", f"{host}/32")

    def heal(self) -> None:
        for host in (OURS, THEIRS):
            run(*self.router, "ip", "route", "del", "blackhole", f"{host}/32")


@contextmanager
def far_host() -> Iterator[FarHost]:
    """Raises CalledProcessError where we may not make one."""
    with ExitStack() as undo:
        router, there = undo.enter_context(namespace()), undo.enter_context(namespace())
        cable("far0", (), f"{OURS}/30", "near0", router, f"{OUR_ROUTER}/30")
        undo.callback(run, "ip", "link", "del", "far0")  # the kernel takes its time to end a namespace
        cable("far1", there, f"{THEIRS}/30", "near1", router, f"{THEIR_ROUTER}/30")
        run(*router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        run("ip", "route", "add", f"{THEIRS}/32", "via", OUR_ROUTER)
        run(*there, "ip", "route", "add", f"{OURS}/32", "via", THEIR_ROUTER)
        run(*there, "ip", "link", "set", "lo", "up")
        yield FarHost(there, router)


@contextmanager
def namespace() -> Iterator[tuple[str, ...]]:
    """The command that runs another one in it; it ends with its only process."""
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as holder:
        try:
            ours = Path("/proc/self/ns/net").stat().st_ino
            eventually(lambda: holder.poll() is not None or Path(f"/proc/{holder.pid}/ns/net").stat().st_ino != ours)
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
    subprocess.run(command, check=True, capture_output=True)
