"""A simulated monitor: reclaims leases of single workers on request, and of whole dead instances."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from testkit.simulation.process import Activity, Process

if TYPE_CHECKING:
    from testkit.simulation.world import World

BOOT_SECONDS, ANSWER_SECONDS, SECOND_TRY_SECONDS, SWEEP_SECONDS = 0.2, 0.005, 0.2, 2.0
DEADLINE_SECONDS, RENEWAL_SECONDS = 60.0, 20.0


class Monitor(Process):
    """The monitor's process. Its death loses nothing, because the successor gets the requests again and sweeps again."""

    def __init__(self, world: World, pid: int, slot: int, incarnation: int, generation: int) -> None:
        super().__init__(world, pid, slot, incarnation, generation)
        self.booted_at = float("inf")

    def boot(self) -> None:
        self.later(BOOT_SECONDS, self._booted)

    def _booted(self) -> None:
        if self.is_terminated:
            self.end(0)
            return
        self.booted_at = self.world.clock.now
        self.enter(Activity.IDLE, DEADLINE_SECONDS, RENEWAL_SECONDS)
        self._sweep()

    def noticed(self) -> None:
        if self.is_terminated and self.activity is Activity.IDLE:
            self.end(0)

    def reclaim_requested(self, key: UUID, *, is_counted: bool) -> None:
        """Handle a request of the supervisor to reclaim a lease."""
        count_as = "crashes" if is_counted else ""
        self.world.when_connected(self, lambda: self._reclaim(key, count_as, is_second_try=False))

    def _reclaim(self, key: UUID, count_as: str, *, is_second_try: bool) -> None:
        outcome = self.world.queue.release(key, count_as)
        if outcome == "not_found" and not is_second_try:
            self.later(SECOND_TRY_SECONDS, lambda: self._reclaim(key, count_as, is_second_try=True))
        else:
            self.later(ANSWER_SECONDS, lambda: self.world.reclaimed(key, outcome))

    def _sweep(self) -> None:
        """Reclaim the leases of a dead instance. They count as expiries, because the cause of its death is unknown."""
        if self.world.is_database_up:
            for key in self.world.orphaned_keys:
                self.world.queue.release(key, "expiries")
            self.world.orphaned_keys.clear()
        else:
            self.world.when_connected(self, self._sweep)
