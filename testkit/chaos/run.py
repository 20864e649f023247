"""One run: the plan is played, then nothing goes wrong any more and the queue must become empty."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg

from testkit.chaos import witness
from testkit.chaos.agenda import Agenda
from testkit.chaos.evidence import Evidence
from testkit.chaos.plan import WORKERS, HandIn, Plan
from testkit.chaos.stage import ChaosEnvironment
from testkit.chaos.stream import enter, was_entered
from testkit.chaos.strike import Strikes

QUIET_SECONDS: Final = 180.0  # the longest lease, twice: whoever has not ended by then is lost
LOOK_SECONDS: Final = 0.02
LOOK_FOR_THE_END_SECONDS: Final = 0.5
TRY_AGAIN_SECONDS: Final = 0.5  # a pupil whose upload failed


@dataclass(frozen=True, slots=True)
class Played:
    """`exit_codes` are those of all starts of the supervisors, the last ones of the drain at the end."""

    evidence: Evidence
    quiet_seconds: float
    missed_faults: int
    exit_codes: tuple[int, ...]
    drained_with: tuple[int | None, ...]


@dataclass(slots=True)
class Run:
    """What is known while it goes on."""

    plan: Plan
    stage: ChaosEnvironment
    agenda: Agenda = field(default_factory=Agenda)
    acknowledged: set[UUID] = field(default_factory=set)
    platform: psycopg.Connection[tuple[Any, ...]] | None = None

    def play(self) -> Played:
        began_at, strikes = time.time(), Strikes(self.stage, self.agenda)
        for hand_in in self.plan.hand_ins:
            self.agenda.at(hand_in.at_seconds, partial(self._hand_in, hand_in))
        for fault in self.plan.faults:
            self.agenda.at(fault.at_seconds, partial(strikes.play, fault))
        while self.agenda.now < self.plan.ends_at_seconds:
            self._go_on()
        quiet_seconds = self._calm_down()
        ended_at = time.time()
        drained_with = tuple(fleet.stop() for fleet in self.stage.fleets)
        evidence = witness.take(self.stage, self.plan, frozenset(self.acknowledged), tuple(strikes.hits), (began_at, ended_at))
        exit_codes = tuple(code for fleet in self.stage.fleets for code in fleet.exit_codes)
        return Played(evidence, quiet_seconds, strikes.missed, exit_codes, drained_with)

    def _go_on(self) -> None:
        for fleet in self.stage.fleets:
            fleet.tend()
        self.agenda.do_due()
        time.sleep(LOOK_SECONDS)

    def _calm_down(self) -> float:
        """Everything that was to end later ends now, settings and numbers are as at the beginning; how long it took."""
        self.agenda.do_all()
        self.stage.simulator.clear_faults()
        for fleet in self.stage.fleets:
            fleet.write_settings()
            fleet.order("scale", str(WORKERS))
        since_seconds = self.agenda.now
        while not self._is_over() and self.agenda.now < since_seconds + QUIET_SECONDS:
            until_seconds = self.agenda.now + LOOK_FOR_THE_END_SECONDS
            while self.agenda.now < until_seconds:
                self._go_on()
        return self.agenda.now - since_seconds

    def _is_over(self) -> bool:
        try:
            return witness.is_over(self._connected())
        except psycopg.OperationalError:
            return False

    # The platform

    def _hand_in(self, hand_in: HandIn) -> None:
        """Again until the database takes it. Whether the last try was committed is looked up: its answer may be lost."""
        try:
            known = was_entered(self._connected(), hand_in)
            self.acknowledged.add(known or enter(self._connected(), hand_in, self.plan.seed, self.stage.storage_root))
        except psycopg.OperationalError:
            self.agenda.after(TRY_AGAIN_SECONDS, partial(self._hand_in, hand_in))

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self.platform is None or self.platform.closed:
            with suppress(psycopg.Error):
                if self.platform is not None:
                    self.platform.close()
            self.platform = self.stage.connected()
        return self.platform
