"""The lock of an instance: it lasts as long as the supervisor or a worker, and no process forked by an adapter prolongs it."""

import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from supervisor.adapters import survivors
from supervisor.adapters.instance import Instance, dead_instances, forget
from supervisor.adapters.runtime_directory import lock_path
from supervisor.adapters.survivors import kill_survivors_of_instance, kill_survivors_of_worker
from testkit.waiting import until

DATABASE = "hash of a database"


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def forked(undo: ExitStack, prepare: Callable[[], object] = lambda: None) -> int:
    """Fork a process that calls `prepare` and then waits for its end, and return its pid."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            prepared = prepare()
            os.write(writing, b".")
            signal.pause()
            del prepared  # kept open until here
        os._exit(1)
    os.close(writing)
    undo.callback(end, pid)
    assert os.read(reading, 1) == b"."
    os.close(reading)
    return pid


def end(pid: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def found(directory: Path) -> list[int]:
    with dead_instances(directory, DATABASE) as numbers:
        return numbers


@contextmanager
def closed_by_its_supervisor(directory: Path) -> Iterator[Instance]:
    """Yield an instance whose supervisor has ended at the end of the block."""
    instance = Instance(directory, DATABASE)
    try:
        yield instance
    finally:
        os.close(instance.lock_fd)


def test_the_lock_lasts_as_long_as_a_worker(tmp_path: Path, undo: ExitStack) -> None:
    """After the end of the supervisor a worker's lock keeps the instance alive. A process that the worker has forked and that
    holds the descriptor does not.
    """
    with closed_by_its_supervisor(tmp_path) as instance:
        assert found(tmp_path) == []
        reading, writing = os.pipe()

        def work() -> None:
            instance.lock_in_worker()
            if os.fork() == 0:
                os.write(writing, os.getpid().to_bytes(4))
                signal.pause()

        worker = forked(undo, work)
        survivor = int.from_bytes(os.read(reading, 4))
        undo.callback(end, survivor)
    assert found(tmp_path) == []
    end(worker)
    assert found(tmp_path) == [instance.number]
    reader = forked(undo, lock_path(tmp_path, instance.number).open)
    assert list(kill_survivors_of_instance(tmp_path, instance.number)) == [survivor]
    until(lambda: not is_alive(survivor))
    assert is_alive(reader)


def test_a_monitor_does_not_prolong_the_lock(tmp_path: Path, undo: ExitStack) -> None:
    """A monitor that outlives its supervisor has no lease, so the instance counts as dead."""
    with closed_by_its_supervisor(tmp_path) as instance:
        forked(undo, instance.unlock_in_monitor)
    assert found(tmp_path) == [instance.number]


def test_an_instance_of_an_older_version_is_alive_while_a_process_has_its_file(tmp_path: Path, undo: ExitStack) -> None:
    """An older supervisor and its workers share one lock by flock(2)."""
    file = lock_path(tmp_path, 7)
    file.write_text(DATABASE)
    fd = os.open(file, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    worker = forked(undo)
    os.close(fd)
    assert found(tmp_path) == []
    end(worker)
    assert found(tmp_path) == [7]


def test_an_older_version_finds_this_instance_alive(tmp_path: Path, undo: ExitStack) -> None:
    """An older monitor tries flock(2) alone, and cannot get it while the supervisor lives."""
    with closed_by_its_supervisor(tmp_path) as instance:
        worker = forked(undo, instance.lock_in_worker)
        with lock_path(tmp_path, instance.number).open("r+") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert found(tmp_path) == []  # the worker is alive
    end(worker)


def test_of_two_searches_one_gets_the_dead_instance(tmp_path: Path, undo: ExitStack) -> None:
    """While one monitor reclaims the leases of a dead instance, another one does not find it, nor after it was forgotten."""
    with closed_by_its_supervisor(tmp_path) as instance:
        pass

    search = ExitStack()
    other = forked(undo, lambda: search.enter_context(dead_instances(tmp_path, DATABASE)))
    assert found(tmp_path) == []
    end(other)
    assert found(tmp_path) == [instance.number]
    forget(tmp_path, instance.number)
    assert found(tmp_path) == []


@pytest.mark.parametrize("has_children_files", [True, False], ids=["listed children", "all processes"])
def test_holders_of_a_worker_s_socket_are_killed(
    monkeypatch: pytest.MonkeyPatch, undo: ExitStack, *, has_children_files: bool
) -> None:
    """An orphan with the socket of the dead worker is killed. One without it, and a child that was forked just now, are not."""
    if not has_children_files:
        monkeypatch.setattr(survivors, "_CHILDREN", Path("/nowhere"))
        monkeypatch.setattr(survivors, "_children", lambda _: iter(()))
    ours, theirs = socket.socketpair()
    undo.enter_context(ours)
    undo.enter_context(theirs)
    holder, booting, other = forked(undo), forked(undo), forked(undo, ours.close)
    assert list(kill_survivors_of_worker(ours.fileno(), {booting})) == [holder]
    assert os.waitstatus_to_exitcode(os.waitpid(holder, 0)[1]) == -signal.SIGKILL
    assert [os.waitpid(pid, os.WNOHANG) for pid in (booting, other)] == [(0, 0), (0, 0)]
