"""A simulated process: its state in the kernel, and the record that it writes into the scoreboard."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testkit.simulation.world import World

MEBIBYTE = 2**20
BASE_BYTES = 60 * MEBIBYTE
SIGKILL, SIGSEGV = -9, -11
BAD_CONFIGURATION, BUG = 78, 70


class Activity(Enum):
    BOOT = "boot"
    CONNECT = "connect"
    IDLE = "idle"
    LEASE = "lease"
    WORK = "work"
    PERMIT = "permit"
    CALL = "call"


class Process:
    """A process that lives until it ends, and then is a zombie until the supervisor reaps it."""

    def __init__(self, world: World, pid: int, slot: int, incarnation: int, generation: int) -> None:
        self.world, self.pid, self.slot, self.incarnation, self.generation = world, pid, slot, incarnation, generation
        self.started_at = world.clock.now
        self.is_alive, self.is_hung, self.is_terminated = True, False, False
        self.status, self.is_oom = 0, False
        self.activity = Activity.BOOT
        self.rss_bytes = BASE_BYTES
        self.measured_bytes = 0
        self.over_limit_since = math.inf
        self._frozen: list[Callable[[], None]] | None = None
        self._entered_at, self._renewal_seconds, self._deadline_in_seconds = 0.0, 0.0, math.inf
        self._stuck_at = math.inf

    @property
    def is_healthy(self) -> bool:
        return self.is_alive and not self.is_hung and self._frozen is None

    @property
    def deadline(self) -> float | None:
        """Return the deadline in the scoreboard, or None in the boot. An idle wait renews its deadline repeatedly."""
        if self.activity is Activity.BOOT:
            return None
        if not self._renewal_seconds:
            return self._entered_at + self._deadline_in_seconds
        passed = min(self.world.clock.now, self._stuck_at) - self._entered_at
        renewed = passed // self._renewal_seconds * self._renewal_seconds
        return self._entered_at + renewed + self._deadline_in_seconds

    def enter(self, activity: Activity, deadline_in_seconds: float, renewal_seconds: float = 0.0) -> None:
        self.activity, self._entered_at = activity, self.world.clock.now
        self._deadline_in_seconds, self._renewal_seconds = deadline_in_seconds, renewal_seconds
        self.world.scoreboard_changed()

    def hold(self, rss_bytes: int) -> None:
        """Set the resident set."""
        self.rss_bytes = rss_bytes
        is_over = rss_bytes > self.world.hard_limit_bytes
        self.over_limit_since = min(self.over_limit_since, self.world.clock.now) if is_over else math.inf
        self.world.scoreboard_changed()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Call `do` after this time: never if the process is dead or hangs by then, and after the thaw if it is frozen."""
        self.world.clock.at(self.world.clock.now + seconds, lambda: self._go_on(do))

    def _go_on(self, do: Callable[[], None]) -> None:
        if self._frozen is not None:
            self._frozen.append(do)
        elif self.is_healthy:
            do()

    def end(self, status: int, *, is_oom: bool = False) -> None:
        if self.is_alive:
            self.is_alive, self.status, self.is_oom = False, status, is_oom
            self.world.ended(self)

    def hang(self) -> None:
        self.is_hung = True
        self._stuck_at = min(self._stuck_at, self.world.clock.now)

    def freeze(self) -> None:
        if self.is_healthy:
            self._frozen = []
            self._stuck_at = self.world.clock.now

    def thaw(self) -> None:
        held, self._frozen = self._frozen or [], None
        self._stuck_at = math.inf if not self.is_hung else self._stuck_at
        for do in held:
            self.later(0.001, do)

    def terminate(self) -> None:
        """Deliver SIGTERM. A running process handles it after a moment."""
        self.is_terminated = True
        self.later(0.002, self.noticed)

    def noticed(self) -> None:
        """Handle a wake-up or a signal that ended a wait."""
        raise NotImplementedError
