"""Lookups of host names: bounded, in a child that leaves nothing behind, and none at all where the address is known."""

import asyncio
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from testkit.host_names import write_getent
from worker.names import (
    NameLookupFailed,
    NameLookupTimeout,
    NameNotResolved,
    resolve,
    resolve_all,
    resolve_all_async,
    resolve_async,
)

SECONDS = 0.2
Resolve = Callable[[str, float], tuple[str, ...]]


@pytest.fixture(autouse=True)
def getent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_getent(tmp_path, two=("10.0.0.2", "fe80::1%lo"), silent=())
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def resolve_in_a_loop(host: str, timeout_seconds: float) -> tuple[str, ...]:
    return asyncio.run(resolve_async(host, timeout_seconds))


both = pytest.mark.parametrize("looked_up", [resolve, resolve_in_a_loop])


@both
def test_each_address_comes_once_and_in_order(looked_up: Resolve) -> None:
    """getent writes three lines for an address, one for each kind of socket. A zone stays with its address."""
    assert looked_up("two", 5) == ("10.0.0.2", "fe80::1%lo")


@both
def test_a_lookup_that_hangs_ends_in_time(looked_up: Resolve) -> None:
    """Its child is killed and reaped, and no thread and no descriptor is left."""
    before = left()
    with pytest.raises(NameLookupTimeout, match="hangs"):
        looked_up("hangs", SECONDS)
    assert left() == before


def left() -> tuple[int, int, list[psutil.Process]]:
    """Descriptors, threads and children of this process, which may have some of other tests."""
    process = psutil.Process()
    return process.num_fds(), threading.active_count(), process.children()


@both
@pytest.mark.parametrize("host", ["silent", "unknown", "-s", "", "nul\0"])
def test_a_name_without_an_address(looked_up: Resolve, host: str) -> None:
    """An unknown name, and one that is no name. An option for getent is none either."""
    with pytest.raises(NameNotResolved):
        looked_up(host, 5)


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo", "localhost", "LocalHost"])
def test_no_lookup_for_what_is_known(monkeypatch: pytest.MonkeyPatch, looked_up: Resolve, host: str) -> None:
    """Addresses and localhost cost no process: with a program that does not exist, any lookup would fail."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    assert looked_up(host, 0) == (("::1", "127.0.0.1") if host.lower() == "localhost" else (host,))
    with pytest.raises(NameLookupFailed, match="FileNotFoundError"):
        looked_up("name", 5)


def test_names_are_looked_up_at_the_same_time() -> None:
    """One that hangs uses up the time and takes nothing from the others, whatever the order."""
    for found in (resolve_all(["hangs", "two"], SECONDS), asyncio.run(resolve_all_async(["hangs", "two"], SECONDS))):
        assert isinstance(found[0], NameLookupTimeout)
        assert found[1] == ("10.0.0.2", "fe80::1%lo")


def test_a_cancelled_lookup_leaves_no_child() -> None:
    """The monitor's end cancels its lookups."""
    before = psutil.Process().children()

    async def cancelled() -> None:
        lookup = asyncio.create_task(resolve_async("hangs", 60))
        while psutil.Process().children() == before:
            await asyncio.sleep(0)
        lookup.cancel()
        await asyncio.wait([lookup])

    asyncio.run(cancelled())
    assert psutil.Process().children() == before


@pytest.mark.parametrize("has_getent", [True, False])
def test_the_system_s_own_sources_answer(monkeypatch: pytest.MonkeyPatch, has_getent: bool) -> None:
    """This host's own name, with getent and with the interpreter in its place: both as getaddrinfo has it."""
    monkeypatch.undo()
    if has_getent and not shutil.which("getent"):
        pytest.skip("this system has no getent")
    if not has_getent:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    host = next((each for each in (socket.gethostname(), "ip6-localhost") if _ordinary(each)), None)
    if host is None:
        pytest.skip("this host's name is not resolved here")
    assert set(resolve(host, 20)) <= _ordinary(host)


def _ordinary(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def test_a_child_gets_no_descriptor(tmp_path: Path) -> None:
    """A descriptor that the process lets its children inherit does not reach the lookup."""
    seen = tmp_path / "seen"
    (tmp_path / "getent").write_text(f"#!/bin/sh\nls -l /proc/self/fd > {seen}.new; mv {seen}.new {seen}; echo 10.0.0.2\n")
    read_fd, write_fd = os.pipe()
    os.set_inheritable(write_fd, True)
    inode = os.fstat(write_fd).st_ino
    assert resolve("two", 5) == ("10.0.0.2",)
    assert f"pipe:[{inode}]" not in seen.read_text()
    os.close(read_fd)
    os.close(write_fd)
