"""One run: play the plan, then stop all faults and wait until the queue is empty."""

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg

from testkit.chaos.collect import Observed, collect, open_count
from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.fault_injector import FaultInjector
from testkit.chaos.plan import WORKERS, Kind, Plan, PlannedSubmission, Work
from testkit.chaos.run_record import RunRecord
from testkit.chaos.scheduler import Scheduler
from testkit.chaos.submissions import enter, made, was_entered

QUIET_SECONDS: Final = 180.0  # twice the longest lease: if no job has become final for so long, the rest is lost
POLL_SECONDS: Final = 0.02
END_POLL_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 0.5  # of a failed upload


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """`exit_codes` are those of all supervisors that ended during the run, `drained_with` those of the final drain.

    `not_possible` has the reason for each kind of fault that this system does not allow. `helpers_left` counts processes that
    adapters had left and that were still there at the end.
    """

    record: RunRecord
    quiet_seconds: float
    missed_faults: int
    not_possible: dict[Kind, str]
    helpers_left: int
    exit_codes: tuple[int, ...]
    drained_with: tuple[int | None, ...]


@dataclass(slots=True)
class Run:
    """The state of a run."""

    plan: Plan
    environment: ChaosEnvironment
    scheduler: Scheduler = field(default_factory=Scheduler)
    acknowledged: set[UUID] = field(default_factory=set)
    platform: psycopg.Connection[tuple[Any, ...]] | None = None

    def play(self) -> FinishedRun:
        began_at, injector = time.time(), FaultInjector(self.environment, self.scheduler, self._typed())
        for planned in self.plan.submissions:
            self.scheduler.at(planned.at_seconds, partial(self._enter, planned))
        for fault in self.plan.faults:
            self.scheduler.at(fault.at_seconds, partial(injector.play, fault))
        while self.scheduler.now < self.plan.ends_at_seconds:
            self._step()
        calm_at, quiet_seconds, ended_at = time.time(), self._wait_for_end(), time.time()
        drained_with = tuple(fleet.stop() for fleet in self.environment.fleets)
        observed = Observed(
            acknowledged=frozenset(self.acknowledged),
            injected=tuple(replace(fault, until=min(fault.until, max(fault.at, calm_at))) for fault in injector.injected),
            refusals=tuple(injector.rows.refusals.values()),
            runner_killers=frozenset(injector.outages.runner_killers),
            began_at=began_at,
            ended_at=ended_at,
        )
        return FinishedRun(
            record=collect(self.environment, self.plan, observed),
            quiet_seconds=quiet_seconds,
            missed_faults=injector.missed,
            not_possible={kind: self.environment.not_possible[kind] for kind in injector.not_possible},
            helpers_left=sum(fleet.end_helpers() for fleet in self.environment.fleets),
            exit_codes=tuple(code for fleet in self.environment.fleets for code in fleet.exit_codes),
            drained_with=drained_with,
        )

    def _step(self) -> None:
        for fleet in self.environment.fleets:
            fleet.tend()
        self.scheduler.run_due()
        time.sleep(POLL_SECONDS)

    def _wait_for_end(self) -> float:
        """End all faults, restore settings and worker counts, and wait for the end. Return the seconds."""
        self.scheduler.run_all()
        self.environment.simulator.clear_faults()
        for fleet in self.environment.fleets:
            fleet.write_settings()
            fleet.command("scale", str(WORKERS))
        since_seconds = fallen_at_seconds = self.scheduler.now
        fewest = math.inf
        while (left := self._open_count()) and self.scheduler.now < fallen_at_seconds + QUIET_SECONDS:
            if left < fewest:
                fewest, fallen_at_seconds = left, self.scheduler.now
            until_seconds = self.scheduler.now + END_POLL_SECONDS
            while self.scheduler.now < until_seconds:
                self._step()
        return self.scheduler.now - since_seconds

    def _open_count(self) -> float:
        """Infinite without a database."""
        try:
            return open_count(self._connected())
        except psycopg.OperationalError:
            return math.inf

    # Submissions

    def _typed(self) -> list[tuple[PlannedSubmission, str]]:
        """Return the submissions with a typed text, and the text."""
        typed = (each for each in self.plan.submissions if each.work is Work.TEXT)
        return [(each, str(made(each, self.plan.seed).content)) for each in typed]

    def _enter(self, planned: PlannedSubmission) -> None:
        """Enter a submission, again until it succeeds. A commit whose answer was lost is found by a query."""
        try:
            known = was_entered(self._connected(), planned)
            self.acknowledged.add(known or enter(self._connected(), planned, self.plan.seed, self.environment.storage_root))
        except psycopg.OperationalError:
            self.scheduler.after(RETRY_SECONDS, partial(self._enter, planned))

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self.platform is None or self.platform.closed:
            with suppress(psycopg.Error):
                if self.platform is not None:
                    self.platform.close()
            self.platform = self.environment.connected()
        return self.platform
