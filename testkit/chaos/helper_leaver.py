"""Let an adapter leave a process behind, then kill its worker."""

import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from testkit.chaos.fleet import Fleet
from testkit.chaos.helper_processes import helpers_of, pids_of
from testkit.chaos.plan import Kind
from testkit.chaos.run_record import InjectedFault
from testkit.chaos.scheduler import Scheduler

POLL_SECONDS: Final = 0.1
MAX_POLLS: Final = 100  # for a worker in its feedback step, then the order is withdrawn
FORKS: Final = ("python", "libc")


@dataclass(frozen=True, slots=True)
class HelperLeaver:
    """The fault is added to `injected` when the worker is killed. Its time is not in the plan."""

    fleet: Fleet
    scheduler: Scheduler
    injected: list[InjectedFault]

    def begin(self, number: int) -> None:
        """Order one process. See testkit/adapters/helper_leaving.py."""
        self.fleet.helpers.mkdir(exist_ok=True)
        (self.fleet.helpers / "order").write_text(FORKS[number % len(FORKS)])
        self.scheduler.after(POLL_SECONDS, partial(self._poll, set(helpers_of(self.fleet.helpers)), MAX_POLLS))

    def _poll(self, known: set[Path], polls: int) -> None:
        for path in helpers_of(self.fleet.helpers):
            if path not in known:
                return self._kill(*pids_of(path))
        if polls:
            return self.scheduler.after(POLL_SECONDS, partial(self._poll, known, polls - 1))
        return (self.fleet.helpers / "order").unlink(missing_ok=True)

    def _kill(self, worker_pid: int, helper_pid: int) -> None:
        for worker in self.fleet.workers():
            if worker.pid == worker_pid:
                at, hosts = time.time(), frozenset({self.fleet.home.name})
                worker.signal(signal.SIGKILL)
                detail = f"pid {worker_pid}, its helper {helper_pid}"
                self.injected.append(InjectedFault(at, Kind.LEAVE_HELPER, frozenset({worker_pid}), detail, hosts, at))
