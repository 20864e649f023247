"""One run: the plan is played, then nothing goes wrong any more and the queue must become empty."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg

from testkit.chaos.collect import collect, is_over
from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.fault_injector import FaultInjector
from testkit.chaos.plan import WORKERS, HandIn, Plan
from testkit.chaos.run_record import RunRecord
from testkit.chaos.scheduler import Scheduler
from testkit.chaos.submissions import enter, was_entered

QUIET_SECONDS: Final = 180.0  # the longest lease, twice: whoever has not ended by then is lost
LOOK_SECONDS: Final = 0.02
LOOK_FOR_THE_END_SECONDS: Final = 0.5
TRY_AGAIN_SECONDS: Final = 0.5  # a pupil whose upload failed


@dataclass(frozen=True, slots=True)
class Played:
    """`exit_codes` are those of all starts of the supervisors, the last ones of the drain at the end."""

    record: RunRecord
    quiet_seconds: float
    missed_faults: int
    exit_codes: tuple[int, ...]
    drained_with: tuple[int | None, ...]


@dataclass(slots=True)
class Run:
    """What is known while it goes on."""

    plan: Plan
    environment: ChaosEnvironment
    scheduler: Scheduler = field(default_factory=Scheduler)
    acknowledged: set[UUID] = field(default_factory=set)
    platform: psycopg.Connection[tuple[Any, ...]] | None = None

    def play(self) -> Played:
        began_at, injector = time.time(), FaultInjector(self.environment, self.scheduler)
        for hand_in in self.plan.hand_ins:
            self.scheduler.at(hand_in.at_seconds, partial(self._hand_in, hand_in))
        for fault in self.plan.faults:
            self.scheduler.at(fault.at_seconds, partial(injector.play, fault))
        while self.scheduler.now < self.plan.ends_at_seconds:
            self._go_on()
        quiet_seconds = self._calm_down()
        ended_at = time.time()
        drained_with = tuple(fleet.stop() for fleet in self.environment.fleets)
        record = collect(
            self.environment, self.plan, frozenset(self.acknowledged), tuple(injector.injected), (began_at, ended_at)
        )
        exit_codes = tuple(code for fleet in self.environment.fleets for code in fleet.exit_codes)
        return Played(record, quiet_seconds, injector.missed, exit_codes, drained_with)

    def _go_on(self) -> None:
        for fleet in self.environment.fleets:
            fleet.tend()
        self.scheduler.do_due()
        time.sleep(LOOK_SECONDS)

    def _calm_down(self) -> float:
        """Everything that was to end later ends now, settings and numbers are as at the beginning; how long it took."""
        self.scheduler.do_all()
        self.environment.simulator.clear_faults()
        for fleet in self.environment.fleets:
            fleet.write_settings()
            fleet.order("scale", str(WORKERS))
        since_seconds = self.scheduler.now
        while not self._is_over() and self.scheduler.now < since_seconds + QUIET_SECONDS:
            until_seconds = self.scheduler.now + LOOK_FOR_THE_END_SECONDS
            while self.scheduler.now < until_seconds:
                self._go_on()
        return self.scheduler.now - since_seconds

    def _is_over(self) -> bool:
        try:
            return is_over(self._connected())
        except psycopg.OperationalError:
            return False

    # The platform

    def _hand_in(self, hand_in: HandIn) -> None:
        """Again until the database takes it. Whether the last try was committed is looked up: its answer may be lost."""
        try:
            known = was_entered(self._connected(), hand_in)
            self.acknowledged.add(known or enter(self._connected(), hand_in, self.plan.seed, self.environment.storage_root))
        except psycopg.OperationalError:
            self.scheduler.after(TRY_AGAIN_SECONDS, partial(self._hand_in, hand_in))

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self.platform is None or self.platform.closed:
            with suppress(psycopg.Error):
                if self.platform is not None:
                    self.platform.close()
            self.platform = self.environment.connected()
        return self.platform
