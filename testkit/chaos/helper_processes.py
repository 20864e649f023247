"""Processes that an adapter has left behind, from the files that testkit/adapters/helper_leaving.py writes."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil


def helpers_of(directory: Path) -> list[Path]:
    return sorted(directory.glob("left-*"))


def end_helpers(directory: Path) -> int:
    """Kill the processes that adapters have left, and return how many were still there."""
    living = [pid for _, pid in map(pids_of, helpers_of(directory)) if _is_helper(pid, directory)]
    for pid in living:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(living)


def _is_helper(pid: int, directory: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return psutil.Process(pid).environ().get("HELPERS") == str(directory) and os.getsid(pid) == pid
    return False


def pids_of(path: Path) -> tuple[int, int]:
    _, worker, helper = path.name.split("-")
    return int(worker), int(helper)
