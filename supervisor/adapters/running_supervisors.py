"""Supervisors that run on this host, whatever their user and directory, as far as /proc shows them to this user."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from supervisor.adapters.runtime_directory import user_name

_PROGRAM, _COMMAND = "learning-supervisor", "start"
_LOCK_FILE, _REMOVED = ".instance", " (deleted)"


@dataclass(frozen=True, slots=True)
class RunningSupervisor:
    """`directory` is its runtime directory, None if this user may not see it."""

    pid: int
    uid: int
    directory: Path | None

    def __str__(self) -> str:
        place = f" in {self.directory}" if self.directory else ""
        return f"process {self.pid} of {user_name(self.uid)}{place}"


def running_supervisors() -> list[RunningSupervisor]:
    """Return each supervisor once, without its workers and its monitor, which have its command line."""
    parents = dict(_parents_by_pid())
    found = (_supervisor(pid) for pid, parent in parents.items() if parent not in parents)
    return [supervisor for supervisor in found if supervisor is not None]


def are_all_visible() -> bool:
    """Report whether /proc shows the processes of other users (`hidepid` of proc(5))."""
    return os.getuid() == 0 or Path("/proc/1").exists()


def _parents_by_pid() -> Iterator[tuple[int, int]]:
    """Yield each process of the command `start`, and its parent."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if _is_start((path / "cmdline").read_bytes().split(b"\0")):
                yield int(path.name), _number(path, "PPid:")
        except OSError:  # it has ended
            continue


def _is_start(words: list[bytes]) -> bool:
    """Report whether the command line is that of `start`, and not of a program that runs it, such as sudo."""
    names = [Path(os.fsdecode(word)).name for word in words]
    return names[0].startswith(("python", _PROGRAM)) and (_PROGRAM, _COMMAND) in pairwise(names)


def _supervisor(pid: int) -> RunningSupervisor | None:
    """Return None for a process without a lock file, which has not started its instance yet or has ended it."""
    path = Path(f"/proc/{pid}")
    try:
        uid = _number(path, "Uid:")
        directory = next(_directories(path), None)
    except PermissionError:
        return RunningSupervisor(pid, uid, None)
    except OSError:  # it has ended
        return None
    return RunningSupervisor(pid, uid, directory) if directory else None


def _directories(process: Path) -> Iterator[Path]:
    """Yield the directory of each lock file that the process has open, also if the file was removed."""
    for fd in (process / "fd").iterdir():
        target = Path(str(fd.readlink()).removesuffix(_REMOVED))
        if target.suffix == _LOCK_FILE:
            yield target.parent


def _number(process: Path, name: str) -> int:
    """Return the first number of a line of proc_pid_status(5). Raises OSError."""
    lines = (process / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
