"""A simulated monitor: gives leases back, of single workers when it is asked and of whole instances when they are dead."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from testkit.simulation.process import Activity, Process

if TYPE_CHECKING:
    from testkit.simulation.world import World

BOOT_SECONDS, ANSWER_SECONDS, SECOND_LOOK_SECONDS, SWEEP_SECONDS = 0.2, 0.005, 0.2, 2.0
PROMISE_SECONDS, RENEWAL_SECONDS = 60.0, 20.0


class Monitor(Process):
    """Nothing is lost with it: its successor is asked again, and sweeps again."""

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
        self.enter(Activity.IDLE, PROMISE_SECONDS, RENEWAL_SECONDS)
        self._sweep()

    def noticed(self) -> None:
        if self.is_terminated and self.activity is Activity.IDLE:
            self.end(0)

    def asked(self, key: UUID, *, is_counted: bool) -> None:
        """A request of the supervisor."""
        count_as = "crashes" if is_counted else ""
        self.world.when_connected(self, lambda: self._give_back(key, count_as, is_second_look=False))

    def _give_back(self, key: UUID, count_as: str, *, is_second_look: bool) -> None:
        outcome = self.world.queue.release(key, count_as)
        if outcome == "not_found" and not is_second_look:
            self.later(SECOND_LOOK_SECONDS, lambda: self._give_back(key, count_as, is_second_look=True))
        else:
            self.later(ANSWER_SECONDS, lambda: self.world.returned(key, outcome))

    def _sweep(self) -> None:
        """Leases of an instance that is dead are expiries: nobody can tell what their jobs did to it."""
        if self.world.is_database_up:
            for key in self.world.orphaned_keys:
                self.world.queue.release(key, "expiries")
            self.world.orphaned_keys.clear()
        else:
            self.world.when_connected(self, self._sweep)
