"""Threads of an adapter that fork at any moment: no forked process gets a descriptor that the worker has just opened."""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpcore
import pytest

from testkit.database import Database
from worker.documents.sandbox import sandboxed
from worker.ipc.contract import Activity, Wiring
from worker.ipc.descriptors import unshare_at_fork
from worker.ipc.scoreboard import Scoreboard
from worker.ollama.deadline import Deadline
from worker.ollama.transport import DeadlineHolder, bounded_client
from worker.queue import host_permits
from worker.queue.connection import connect
from worker.report import Report
from worker.session import Session
from worker.wakeups import Wakeups

IS_CUT, IS_KEPT, FAILED = 0, 1, 2
FORK_SECONDS = 0.2  # enough for a fork that does not wait
ROUNDS = 60
SOON_MS = 5000


def exit_code_in_worker(act: Callable[[Scoreboard], int]) -> int:
    """Run `act` in a forked process that has the hooks of a worker, and return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = FAILED
        try:
            scoreboard = Scoreboard()
            unshare_at_fork(scoreboard)
            code = act(scoreboard)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class ForkingThread:
    """A thread that forks once, and then has the exit code of the forked process."""

    def __init__(self) -> None:
        self._fd, self._code, self._is_forking = -1, FAILED, threading.Event()
        self._thread = threading.Thread(target=self._fork)

    def fork(self, fd: int) -> None:
        """Let the thread fork, and return when it has forked or waits. `fd` is a descriptor of the worker."""
        self._fd = fd
        self._thread.start()
        self._is_forking.wait()
        self._thread.join(FORK_SECONDS)

    def exit_code(self) -> int:
        self._thread.join()
        return self._code

    def _fork(self) -> None:
        self._is_forking.set()
        pid = os.fork()
        if pid == 0:
            os._exit(IS_CUT if Path(f"/proc/self/fd/{self._fd}").readlink() == Path(os.devnull) else IS_KEPT)
        self._code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_waits_until_the_session_is_known(database: Database) -> None:
    """While the worker connects to the database, a fork waits, and then does not get the connection."""

    def act(scoreboard: Scoreboard) -> int:
        thread = ForkingThread()

        def connect_slowly() -> Any:
            connection = connect(database.worker_dsn, "test")
            thread.fork(connection.fileno())
            return connection

        null_fd = os.open(os.devnull, os.O_RDWR)
        wiring = Wiring(0, 1, 1, scoreboard, os.eventfd(0), null_fd, os.pipe()[0])
        report = Report(wiring)
        report.enter_activity(Activity.IDLE)
        session = Session(connect_slowly, report, Wakeups(wiring.wake_fd, wiring.lifeline_fd, lambda: False))
        session.ask(lambda connection: connection.execute("select 1"))
        return thread.exit_code()

    assert exit_code_in_worker(act) == IS_CUT


def test_a_fork_waits_until_the_connection_to_a_server_is_known() -> None:
    """While the worker connects to a model server or an object store, a fork waits, and then does not get the connection."""

    def act(_: Scoreboard) -> int:
        thread, connect_tcp = ForkingThread(), httpcore.SyncBackend.connect_tcp

        def connect_slowly(*arguments: Any) -> httpcore.NetworkStream:
            stream = connect_tcp(*arguments)
            thread.fork(stream.get_extra_info("socket").fileno())
            return stream

        httpcore.SyncBackend.connect_tcp = connect_slowly  # type: ignore[method-assign, assignment]
        holder = DeadlineHolder()
        holder.deadline = Deadline.starting(time.monotonic(), 10.0, 10.0)
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=answer, args=(server,)).start()
            bounded_client(f"http://127.0.0.1:{server.getsockname()[1]}", holder).get("/")
        return thread.exit_code()

    assert exit_code_in_worker(act) == IS_CUT


def answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    connection.recv(1)


def test_a_fork_does_not_get_a_permit_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the worker takes a permit that is a socket, a fork does not get it."""
    thread = ForkingThread()

    class SlowSocket(socket.socket):
        def listen(self, backlog: int = 0, /) -> None:
            super().listen(backlog)
            thread.fork(self.fileno())

    monkeypatch.setattr(socket, "socket", SlowSocket)

    def act(_: Scoreboard) -> int:
        permit = host_permits.take(os.getpid(), 1)
        return thread.exit_code() if permit else FAILED

    assert exit_code_in_worker(act) == IS_CUT


def test_a_fork_does_not_hide_the_end_of_a_decoder() -> None:
    """Processes that are forked while decoders start do not get the write ends of their pipes. Each end of a decoder is seen."""

    def act(_: Scoreboard) -> int:
        forked: list[int] = []
        thread = threading.Thread(target=fork_often, args=(forked,))
        thread.start()
        try:
            return IS_CUT if all(has_ended() for _ in range(ROUNDS)) else IS_KEPT
        finally:
            thread.join()
            for pid in forked:
                os.kill(pid, signal.SIGKILL)

    assert exit_code_in_worker(act) == IS_CUT


def test_a_fork_does_not_get_the_pipe_of_a_decoder() -> None:
    """A fork during the decoding of a document does not get the read end."""

    def act(_: Scoreboard) -> int:
        with sandboxed(lambda _: signal.pause()) as child:
            thread = ForkingThread()
            thread.fork(child.fd)
            return thread.exit_code()

    assert exit_code_in_worker(act) == IS_CUT


def fork_often(forked: list[int]) -> None:
    for _ in range(ROUNDS):
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        forked.append(pid)


def has_ended() -> bool:
    """Run a decoder that ends at once, and wait for the end of its pipe."""
    with sandboxed(lambda _: None) as child:
        poll = select.poll()
        poll.register(child.fd, select.POLLIN)
        return bool(poll.poll(SOON_MS))


def test_a_forked_process_may_fork_again_in_a_thread() -> None:
    """The lock that delays forks is free in a forked process, whichever thread forks there."""

    def act(_: Scoreboard) -> int:
        pid = os.fork()
        if pid == 0:
            signal.alarm(SOON_MS // 1000)
            thread = ForkingThread()
            thread.fork(os.open(os.devnull, os.O_RDONLY))
            os._exit(thread.exit_code())
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert exit_code_in_worker(act) == IS_CUT
