"""Looks host names up in a child process: a resolver that hangs costs the time-out, and never the process that asks.

getaddrinfo(3) has no time-out, and a thread in it cannot be ended. The child is getent(1), which calls getaddrinfo and so asks
/etc/hosts, DNS and whatever else /etc/nsswitch.conf names. No address is kept, because another service may have it by the next
connection and would receive pupils' work (docs/decisions/0031).
"""

import asyncio
import contextlib
import ipaddress
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

LOOKUP_SECONDS = 6.0  # glibc asks the second name server after 5 s
LOCALHOST = ("::1", "127.0.0.1")  # in the order of getaddrinfo
_MAX_BYTES = 65_536
_REAP_SECONDS = 0.2  # a killed child ends at once, unless the kernel waits for a disk
_IN_PYTHON = "import socket, sys\nfor found in socket.getaddrinfo(sys.argv[1], None): print(found[4][0])"


class NameLookupFailed(OSError):
    """No lookup could be started, or one of the two below. The message names the host, which comes from the settings."""


class NameNotResolved(NameLookupFailed):
    """The name is not known, or the name servers report a failure."""


class NameLookupTimeout(NameLookupFailed):
    """The lookup did not end in time."""


def resolve(host: str, timeout_seconds: float = LOOKUP_SECONDS) -> tuple[str, ...]:
    """Return the addresses of a name, the preferred one first. Raises NameLookupFailed, and takes at most `timeout_seconds`."""
    (found,) = resolve_all((host,), timeout_seconds)
    return _raised(found)


def resolve_all(hosts: Sequence[str], timeout_seconds: float = LOOKUP_SECONDS) -> list[tuple[str, ...] | NameLookupFailed]:
    """Look several names up at the same time. A failure stands in the place of the addresses."""
    until_seconds = time.monotonic() + timeout_seconds
    with contextlib.ExitStack() as stack:
        lookups = [_started(host, stack) for host in hosts]
        return [each.wait(until_seconds) if isinstance(each, _Lookup) else each for each in lookups]


async def resolve_async(host: str, timeout_seconds: float = LOOKUP_SECONDS) -> tuple[str, ...]:
    """The same as `resolve` for an event loop, without a thread: one that hangs would delay the end of the loop."""
    (found,) = await resolve_all_async((host,), timeout_seconds)
    return _raised(found)


async def resolve_all_async(
    hosts: Sequence[str], timeout_seconds: float = LOOKUP_SECONDS
) -> list[tuple[str, ...] | NameLookupFailed]:
    """The same as `resolve_all` for an event loop."""
    until_seconds = time.monotonic() + timeout_seconds
    with contextlib.ExitStack() as stack:
        lookups = [_started(host, stack) for host in hosts]
        pending = [each for each in lookups if isinstance(each, _Lookup)]
        results = iter(await asyncio.gather(*(lookup.wait_async(until_seconds) for lookup in pending)))
        return [next(results) if isinstance(each, _Lookup) else each for each in lookups]


def _raised(found: tuple[str, ...] | NameLookupFailed) -> tuple[str, ...]:
    if isinstance(found, NameLookupFailed):
        raise found
    return found


def _started(host: str, stack: contextlib.ExitStack) -> "_Lookup | tuple[str, ...] | NameLookupFailed":
    """Addresses that need no lookup, or a lookup that ends with the stack."""
    if known := _known(host):
        return known
    if not host or host.startswith("-") or "\0" in host:  # getent would take it for an option
        return NameNotResolved(f"{host!r} is no host name")
    try:
        return stack.enter_context(contextlib.closing(_Lookup(host)))
    except OSError as error:
        return NameLookupFailed(f"no lookup of {host} could be started: {type(error).__name__}")


def _known(host: str) -> tuple[str, ...]:
    """The addresses of what needs no lookup: an address, or localhost."""
    if host.lower() == "localhost":
        return LOCALHOST
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ()
    return (host,)


class _Lookup:
    """One lookup in progress. Its child writes one line for each address, which begins with the address."""

    def __init__(self, host: str) -> None:
        self._host, self._output = host, b""
        self._child = subprocess.Popen(  # noqa: S603  without a shell, and the name is no option
            [*_command(), host], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._child.stdout is not None  # noqa: S101  of a pipe
        self._pipe = self._child.stdout

    def wait(self, until_seconds: float) -> tuple[str, ...] | NameLookupFailed:
        readable = select.poll()
        readable.register(self._pipe, select.POLLIN)
        while readable.poll(max(0.0, until_seconds - time.monotonic()) * 1000):
            if self._has_ended():
                return self._result()
        return self._timeout()

    async def wait_async(self, until_seconds: float) -> tuple[str, ...] | NameLookupFailed:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pipe, lambda: ended.set() if self._has_ended() else None)
        try:
            async with asyncio.timeout(max(0.0, until_seconds - time.monotonic())):
                await ended.wait()
        except TimeoutError:
            return self._timeout()
        finally:
            loop.remove_reader(self._pipe)
        return self._result()

    def close(self) -> None:
        """Kill and reap the child. One that the kernel does not let end is reaped by a later lookup."""
        self._pipe.close()
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_REAP_SECONDS)

    def _has_ended(self) -> bool:
        """Read what has come. True at the end of the output."""
        piece = os.read(self._pipe.fileno(), _MAX_BYTES)
        self._output += piece
        return not piece or len(self._output) >= _MAX_BYTES

    def _result(self) -> tuple[str, ...] | NameLookupFailed:
        """The addresses, each once: getent writes a line for each kind of socket."""
        found = (line.split()[0].decode("ascii", "replace") for line in self._output.splitlines() if line.strip())
        addresses = tuple(address for address in dict.fromkeys(found) if _known(address))
        return addresses or NameNotResolved(f"the host name {self._host} is not resolved")

    def _timeout(self) -> NameLookupTimeout:
        return NameLookupTimeout(f"the lookup of the host name {self._host} did not end in time")


def _command() -> tuple[str, ...]:
    """getent takes 1 ms. A system without it, such as a minimal container, starts an interpreter, which takes 20 ms."""
    found = shutil.which("getent")
    return (found, "ahosts") if found else (sys.executable, "-I", "-S", "-c", _IN_PYTHON)
