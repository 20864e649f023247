"""Starts a helper process in each of the first HELPERS calls, in the way that HELPER names. These calls hang, later ones return.

The helper leads a session of its own. Before it starts, `N.ours` gets the targets of the worker's descriptors. `N.pids` then gets
the pids of worker and helper.
"""

import ctypes
import json
import multiprocessing
import os
import pty
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from worker.adapters.stub import Stub, StubFeedback

HOUR = 3600.0
STDERR = 2
SLEEP = ("/bin/sleep", "3600")


def links(pid: int | str = "self") -> dict[int, str]:
    """Return the target of each descriptor of the process. The descriptor of the listing itself is closed by then."""
    entries = list(Path(f"/proc/{pid}/fd").iterdir())
    return {int(entry.name): str(entry.readlink()) for entry in entries if os.path.lexists(entry)}


class Place:
    """The files of one helper."""

    def __init__(self, number: int) -> None:
        self.ours, self.pids = Path(f"{number}.ours"), Path(f"{number}.pids")

    def note(self, worker_pid: int, helper_pid: int) -> None:
        unfinished = self.pids.with_suffix(".unfinished")
        unfinished.write_text(f"{worker_pid} {helper_pid}")
        unfinished.rename(self.pids)


def _settle(place: Place, worker_pid: int) -> None:
    """Lead a session and stay."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    place.note(worker_pid, os.getpid())
    time.sleep(HOUR)
    os._exit(0)


def _by_subprocess(place: Place) -> None:
    helper = subprocess.Popen(SLEEP, close_fds=False, start_new_session=True)
    place.note(os.getpid(), helper.pid)


def _by_preexec(place: Place) -> None:
    helper = subprocess.Popen(SLEEP, close_fds=False, preexec_fn=os.setsid)  # noqa: PLW1509
    place.note(os.getpid(), helper.pid)


def _by_posix_spawn(place: Place) -> None:
    place.note(os.getpid(), os.posix_spawn(SLEEP[0], SLEEP, os.environ, setsid=True))


def _by_double_fork(place: Place) -> None:
    worker_pid, child = os.getpid(), os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            _settle(place, worker_pid)
        os._exit(0)
    os.waitpid(child, 0)


def _by_multiprocessing(place: Place) -> None:
    multiprocessing.get_context("fork").Process(target=_settle, args=(place, os.getpid())).start()


def _by_forkpty(place: Place) -> None:
    worker_pid, (child, _) = os.getpid(), pty.fork()
    if child == 0:
        _settle(place, worker_pid)


def _by_libc(place: Place) -> None:
    """Fork twice as a C library does, without the hooks of Python. The helper is an orphan at once."""
    libc, worker_pid = ctypes.PyDLL(None), os.getpid()
    if (child := libc.fork()) == 0:
        if libc.fork() == 0:
            _settle(place, worker_pid)
        os._exit(0)
    os.waitpid(child, 0)


WAYS: dict[str, Callable[[Place], None]] = {
    "subprocess": _by_subprocess,
    "preexec": _by_preexec,
    "posix_spawn": _by_posix_spawn,
    "double_fork": _by_double_fork,
    "multiprocessing": _by_multiprocessing,
    "forkpty": _by_forkpty,
    "libc": _by_libc,
}


class Forking(Stub):
    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> StubFeedback:
        if place := _next_place():
            WAYS[os.environ["HELPER"]](place)
            time.sleep(HOUR)
        return super().analyze(text_md=text_md, criteria=criteria)


def _next_place() -> Place | None:
    """Return a place that no call has taken, or None if there are enough helpers."""
    for number in range(int(os.environ.get("HELPERS", "1"))):
        place = Place(number)
        try:
            with place.ours.open("x") as file:
                own = str(place.ours.absolute())
                json.dump(sorted({target for fd, target in links().items() if fd > STDERR and target != own}), file)
        except FileExistsError:
            continue
        return place
    return None


def build() -> Forking:
    return Forking()
