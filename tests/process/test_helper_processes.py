"""Processes that an adapter starts and that outlive its worker: they get no descriptor of ours, or they end with the worker."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from testkit.adapters.forking import links
from testkit.live_fleet import LiveFleet
from testkit.site import Site, Value
from testkit.waiting import until
from tests.tiers import in_two_tiers
from worker.ipc.contract import ExitCode

PROGRAMS = ("subprocess", "preexec", "posix_spawn")
FORKS = ("double_fork", "multiprocessing", "forkpty")
LONG_LEASE_SECONDS = 600  # no test waits for its end
SOON_SECONDS = 10.0
STANDARD_FDS = {0, 1, 2}
SCOREBOARD = "/dev/zero (deleted)"  # the kernel's name of anonymous memory that processes share


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper process, its worker, and the links of the descriptors that the worker had just before."""

    process: psutil.Process
    worker_pid: int
    ours: set[str]

    @property
    def is_alive(self) -> bool:
        return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE

    def held(self) -> set[str]:
        """Return the links of descriptors that it has in common with its worker, without the standard ones and /dev/null."""
        own = {target for fd, target in links(self.process.pid).items() if fd not in STANDARD_FDS}
        return (own & self.ours) - {os.devnull}

    @property
    def has_scoreboard(self) -> bool:
        return SCOREBOARD in Path(f"/proc/{self.process.pid}/maps").read_text()


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(site: Site, undo: ExitStack, number: int = 0) -> Helper:
    """Wait for a helper and end it after the test."""
    pids = site.directory / f"{number}.pids"
    until(pids.exists, what="a helper")
    worker_pid, helper_pid = map(int, pids.read_text().split())
    helper = Helper(psutil.Process(helper_pid), worker_pid, set(json.loads(Path(pids.with_suffix(".ours")).read_text())))
    undo.callback(end, helper)
    return helper


def end(helper: Helper) -> None:
    with suppress(psutil.NoSuchProcess):
        helper.process.kill()


def start(site: Site, way: str, **settings: Value) -> LiveFleet:
    """Start a fleet in which the first call for feedback starts a helper and hangs. One call at a time is allowed."""
    defaults: dict[str, Value] = {
        "ai_backend": "stub",
        "learning_feedback_adapter": "testkit.adapters.forking",
        "ollama_num_parallel": 1,
        "worker_lease_seconds": LONG_LEASE_SECONDS,
        "helper": way,
    }
    return site.start_with(defaults | settings)


@pytest.mark.parametrize("way", in_two_tiers([*PROGRAMS, *FORKS], {"posix_spawn", "double_fork"}))
def test_a_helper_gets_no_descriptor_and_is_left_alone(site: Site, undo: ExitStack, way: str) -> None:
    """A program that an adapter starts has the three standard descriptors, a fork has no descriptor of its worker. Neither
    keeps the permit or the job of the dead worker, so it is not ended.
    """
    text = site.enter_text()
    fleet = start(site, way)
    helper = started(site, undo)
    if way in PROGRAMS:
        assert links(helper.process.pid).keys() == STANDARD_FDS
    assert (helper.held(), helper.has_scoreboard) == (set(), False)
    os.kill(helper.worker_pid, signal.SIGKILL)
    site.until_done_once([text])
    assert helper.is_alive
    assert fleet.logged("survivor_killed") == []


def test_a_helper_gets_no_connection_to_a_server(site: Site, undo: ExitStack) -> None:
    """A fork does not get the connection to Ollama that the other step keeps open."""
    (photo,) = site.enter_photos()
    start(site, "double_fork", ai_backend="local")
    helper = started(site, undo)
    assert sum(target.startswith("socket:") for target in helper.ours) == 3  # events, database, Ollama
    assert helper.held() == set()
    os.kill(helper.worker_pid, signal.SIGKILL)
    site.until_done_once([photo])


def test_a_helper_keeps_no_permit_behind_a_pooler(site: Site, undo: ExitStack) -> None:
    """A fork does not get the socket that is the permit there, so another worker gets it after the death of its holder."""
    text = site.enter_text()
    start(site, "double_fork", database_pooled="true")
    helper = started(site, undo)
    assert sum(target.startswith("socket:") for target in helper.ours) == 3  # events, database, permit
    assert helper.held() == set()
    os.kill(helper.worker_pid, signal.SIGKILL)
    site.until_done_once([text])
    assert helper.is_alive


def test_a_helper_that_holds_descriptors_ends_with_its_worker(site: Site, undo: ExitStack) -> None:
    """A fork by a C library holds the session with the permit. It ends with its worker, in whatever session it is, and another
    worker does the job.
    """
    text = site.enter_text()
    fleet = start(site, "libc")
    helper = started(site, undo)
    assert (helper.held(), helper.has_scoreboard) == (helper.ours - {os.devnull}, False)
    os.kill(helper.worker_pid, signal.SIGKILL)
    site.until_done_once([text])
    until(lambda: not helper.is_alive, SOON_SECONDS)
    killed = [(line["slot"], line["pid"]) for line in fleet.until_logged("survivor_killed")]
    assert ("0", str(helper.process.pid)) in killed  # the process between worker and helper may still be there


def test_a_helper_of_a_living_worker_is_left_alone(site: Site, undo: ExitStack) -> None:
    """At the death of one worker, the helper of another one stays, with all that it holds."""
    site.enter_texts(2)
    fleet = start(site, "libc", helpers=2, worker_concurrency=2, ollama_num_parallel=2)
    dying, staying = started(site, undo, 0), started(site, undo, 1)
    until(lambda: staying.process.ppid() == fleet.pid, what="the adoption of the orphan")
    os.kill(dying.worker_pid, signal.SIGKILL)
    fleet.until_logged("survivor_killed")
    fleet.until_replaced([dying.worker_pid])
    until(lambda: not dying.is_alive, SOON_SECONDS)
    assert staying.is_alive
    assert len(fleet.logged("survivor_killed")) == 1


def test_a_stop_leaves_no_helper_that_holds_descriptors(site: Site, undo: ExitStack) -> None:
    """The helper of the last worker is killed before the supervisor ends."""
    site.enter_text()
    fleet = start(site, "libc")
    helper = started(site, undo)
    fleet.terminate(times=3)
    assert fleet.exit_code() == os.EX_TEMPFAIL
    until(lambda: not helper.is_alive, SOON_SECONDS)
    assert [line["pid"] for line in fleet.logged("survivor_killed")] == [str(helper.process.pid)]


@pytest.mark.parametrize("way", in_two_tiers(["double_fork", "libc"], {"libc"}))
def test_a_helper_does_not_keep_the_leases_of_a_dead_supervisor(site: Site, undo: ExitStack, way: str) -> None:
    """After SIGKILL of the supervisor the next one finds the lease and gets the permit. Of the helpers it ends the one that holds
    descriptors, and no other.
    """
    text = site.enter_text()
    dead = start(site, way)
    helper = started(site, undo)
    number = f"{dead.instance():08x}"
    dead.kill()
    heir = start(site, way)
    site.until_done_once([text])
    assert {line["instance"] for line in heir.logged("dead_instance_lease")} == {number}
    assert not (heir.runtime_directory / f"{number}.sock").exists()
    if way == "libc":
        until(lambda: not helper.is_alive, SOON_SECONDS)
    else:
        assert helper.is_alive


def test_a_fork_that_returns_from_the_adapter_ends(site: Site) -> None:
    """A forked copy of the worker ends before it reaches the queue, and its worker goes on."""
    texts = site.enter_texts(2)
    fleet = site.start(ai_backend="stub", learning_feedback_adapter="testkit.adapters.stray")
    site.until_done_once(texts)
    assert (site.directory / "exit_codes").read_text().split() == [str(int(ExitCode.BUG))] * 2
    assert len(site.leases(*texts)) == 2
    assert fleet.logged("exited") == []
