"""The checks at each step of a simulated run. They use the state of the simulated world, and not the supervisor's view of it.

The numbers are those of the invariants in the README. Further checks bound the duration of an exceeded deadline, a slow
boot, a lease of a dead worker and a vacant slot. Invariant 9, one thread and no socket at fork, needs a real process:
tests/process checks it.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING
from uuid import UUID

from supervisor import exit_codes
from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.facts import DeadlineSet, Exited, Fact, FactOfASlot, LeaseReclaimed, Measured, Spawned, StopAsked
from supervisor.core.fleet import MONITOR, ActionReason, Fleet, Slot, SlotState
from supervisor.core.rules import decide
from testkit.simulation.monitor import Monitor
from testkit.simulation.plan import Fault
from testkit.simulation.process import Activity, Process
from testkit.simulation.violation import Violation
from testkit.simulation.worker import Worker

if TYPE_CHECKING:
    from testkit.simulation.world import World

TICKS_SECONDS = 3.0  # two ticks and what happens between them
SLACK_SECONDS = 0.01  # of the world's own latencies
RECLAIM_SECONDS = 5.0
MOST_STARTS, BURST_SECONDS = 8, 60.0
_BLAMES = {ActionReason.DEADLINE_EXCEEDED, ActionReason.BOOT_TOO_SLOW}
_DRAIN_KILLS = {ActionReason.DRAIN_EXPIRED, ActionReason.STOP_NOW}


class Inspector:
    """The loop's observer. Raises Violation. `visits` counts the cells of the table that were reached."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.trace: list[tuple[float, Fact | Action | Fault | str]] = []
        self.visits: Counter[tuple[SlotState, type[FactOfASlot]]] = Counter()
        self.begin_life()

    def begin_life(self) -> None:
        self._starts: dict[int, deque[float]] = {}
        self._terminated: dict[int, Terminate] = {}
        self._killed: dict[int, Kill] = {}
        self._retiring: set[int] = set()
        self._stops: list[float] = []
        self._progress_at: float | None = None
        self._crashes = 0
        self._vacant_since: dict[int, float] = {}
        self._dead_since: dict[UUID, float] = {}
        self._crash_keys: set[UUID] = set()
        self._was_cut_short = self._gave_up = False
        self._last = self._world.fleet
        self._first_start_at: float | None = None
        self._is_crash = False
        self._alone_since: float | None = None
        self.note("a supervisor starts")

    # From the loop

    def note(self, what: Fault | str) -> None:
        self.trace.append((self._world.clock.now, what))

    def action(self, action: Action) -> None:
        self.trace.append((self._world.clock.now, action))
        if isinstance(action, Finish):
            self._check_finish(action)

    def fact(self, fact: Fact, fleet: Fleet) -> None:
        if isinstance(fact, FactOfASlot):
            self.visits[self._last.slot(fact.slot).state, type(fact)] += 1
        self._last = fleet
        match fact:
            case DeadlineSet(slot) if slot != MONITOR:
                self._progress_at, self._crashes = fact.at_seconds, 0
                return
            case DeadlineSet() | Measured():
                return
            case Exited():
                self._exited(fact, fleet.slot(fact.slot))
            case Spawned() if self._first_start_at is None:
                self._first_start_at = fact.at_seconds
            case StopAsked(at):
                self._stops.append(at)
            case LeaseReclaimed(key):
                self._dead_since.pop(key, None)
        self.trace.append((self._world.clock.now, fact))

    def _exited(self, fact: Exited, slot: Slot) -> None:
        """Compare the supervisor's verdict on the exit with the one from what was done to the process and how it ended."""
        is_crash = self._is_crash
        if is_crash is not slot.last_cause.is_crash:
            raise Violation("7: only crashes count", f"slot {slot.number}: {slot.last_cause.name}")
        self._crashes += is_crash and slot.number != MONITOR
        self._vacant_since[slot.number] = fact.at_seconds
        if not is_crash:
            self._starts.pop(slot.number, None)
        for key in filter(None, (fact.lease_key, fact.next_lease_key)):
            self._dead_since[key] = fact.at_seconds
            self._crash_keys |= {key} if is_crash else set()

    def reaped(self, process: Process) -> None:
        """Decide whether the exit is a crash, just before the supervisor gets it."""
        terminated, killed = self._terminated.pop(process.slot, None), self._killed.pop(process.slot, None)
        is_blamed = terminated is not None and terminated.why in _BLAMES
        was_asked = not is_blamed and (terminated is not None or process.slot in self._retiring)
        was_cut_off = killed is not None and killed.why in _DRAIN_KILLS and not is_blamed
        was_late = killed is not None and killed.why is ActionReason.GRACE_EXPIRED and was_asked
        has_left = process.status == 0 and was_asked
        self._is_crash = not (has_left or was_cut_off or was_late)
        self._retiring.discard(process.slot)

    # Before each action

    def check_action(self, action: Action, fleet: Fleet) -> None:
        match action:
            case Spawn(slot):
                self._check_spawn(slot, fleet)
            case Terminate(slot):
                self._check_terminate(action, self._living(slot, action))
            case Kill(slot):
                self._check_kill(action, self._living(slot, action))
            case Retire(slot, why):
                self._living(slot, action)
                self._check_retire(slot, why, fleet)
            case GiveUp():
                self._gave_up = True
                if not self._is_restart_limit_reached(0.0):
                    raise Violation(
                        "gives up only at the restart limit", f"{self._crashes} crashes, progress {self._progress_at}"
                    )
            case ReclaimLease(_, _, key, is_counted) if is_counted is not (key in self._crash_keys):
                raise Violation("7: only crashes count", f"counted: {is_counted}")
            case _:
                pass

    def _living(self, slot: int, action: Action) -> Process:
        process = self._world.processes.get(slot)
        if process is None:
            raise Violation("1: a signal goes only to a child not yet reaped", f"{action}")
        return process

    def _check_spawn(self, slot: int, fleet: Fleet) -> None:
        now = self._world.clock.now
        if slot in self._world.processes:
            raise Violation("1: a slot holds at most one process", f"slot {slot}")
        if self._stops:
            raise Violation("2: no start after a stop request", f"slot {slot}")
        if slot >= fleet.wanted:
            raise Violation("scale: no start of what is not wanted", f"slot {slot} of {fleet.wanted}")
        self._vacant_since.pop(slot, None)
        starts = self._starts.setdefault(slot, deque(maxlen=MOST_STARTS))
        if len(starts) == MOST_STARTS and now < starts[0] + BURST_SECONDS - 1e-6:
            raise Violation("8: a crash loop costs at most 8 forks in a minute", f"slot {slot}: {[*starts, now]}")
        starts.append(now)

    def _check_terminate(self, action: Terminate, process: Process) -> None:
        now, policy = self._world.clock.now, self._world.policy(0)
        deadline = process.deadline
        is_right = {
            ActionReason.DEADLINE_EXCEEDED: deadline is not None and now > deadline,
            ActionReason.BOOT_TOO_SLOW: deadline is None and now >= process.started_at + policy.boot_timeout_seconds,
            ActionReason.DRAIN: bool(self._stops) or self._is_ending,
            ActionReason.WORKERS_GONE: process.slot == MONITOR and not self._world.workers(),
            ActionReason.OUTDATED: process.slot == MONITOR,
            ActionReason.PERMIT_UNUSED: self._unused_permit_seconds(now) >= policy.longest_step_seconds - TICKS_SECONDS,
        }
        if process.is_alive and not is_right.get(action.why, False):
            raise Violation("3: SIGTERM only for a true reason", f"{action}, deadline {deadline}")
        self._terminated[process.slot] = action

    def _check_kill(self, action: Kill, process: Process) -> None:
        now, policy = self._world.clock.now, self._world.policy(0)
        terminated, deadline = self._terminated.get(process.slot), process.deadline
        boot_ended_at = process.started_at + policy.boot_timeout_seconds + policy.terminate_grace_seconds
        was_broken = deadline is not None and now > deadline + policy.terminate_grace_seconds
        is_right = {
            ActionReason.GRACE_EXPIRED: terminated is not None and (now >= terminated.stop_by_seconds or process.slot == MONITOR),
            ActionReason.DEADLINE_EXCEEDED_IN_DRAIN: terminated is not None and was_broken,
            ActionReason.BOOT_TOO_SLOW: terminated is not None and deadline is None and now > boot_ended_at,
            ActionReason.OVER_HARD_LIMIT: process.measured_bytes > policy.memory_hard_bytes,
            ActionReason.DRAIN_EXPIRED: terminated is not None and self._is_ending and now >= self._drain_ends_at,
            ActionReason.STOP_NOW: len(self._last.stop_asked_at_seconds) > 2,
        }
        if process.is_alive and not is_right.get(action.why, False):
            raise Violation(
                "3: SIGKILL only after an exceeded deadline, a grace period, a hard limit or an immediate stop", f"{action}"
            )
        self._was_cut_short |= process.is_alive and process.slot != MONITOR and action.why in _DRAIN_KILLS
        self._killed[process.slot] = action

    def _check_retire(self, slot: int, why: ActionReason, fleet: Fleet) -> None:
        others = [each.number for each in fleet.wanted_workers if each.number != slot]
        missing = [number for number in others if not self._is_healthy(number)]
        if why is not ActionReason.SURPLUS and missing:
            raise Violation("recycles never take a second worker", f"slot {slot}, while {missing} are missing")
        self._retiring.add(slot)

    def _is_healthy(self, slot: int) -> bool:
        """True if the process has booted, is not reaped and has no request to leave, as the supervisor can know it."""
        process = self._world.processes.get(slot)
        is_called = slot in self._retiring or slot in self._terminated or slot in self._killed
        return process is not None and process.activity is not Activity.BOOT and not is_called

    def _check_finish(self, action: Finish) -> None:
        if self._world.processes:
            raise Violation("2: the end leaves no process behind", f"slots {sorted(self._world.processes)}")
        is_cut_short = self._was_cut_short or bool(action.leases_left)
        if (action.exit_code == exit_codes.GAVE_UP and not self._gave_up) or (
            action.exit_code == exit_codes.CUT_SHORT and not is_cut_short
        ):
            raise Violation("the exit code is right", f"{action}")
        if action.exit_code == 0 and (is_cut_short or self._gave_up):
            raise Violation("the exit code is right", f"{action}")

    # After each turn

    def check(self, fleet: Fleet) -> None:
        now = self._world.clock.now
        policy = self._world.policy(0)
        if decide(fleet, policy, now) != decide(fleet, policy, now):
            raise Violation("10: decide asked twice answers the same", "")
        for process in self._world.processes.values():
            if process.is_alive:
                self._check_process(process, now)
        if self._unused_permit_seconds(now) > policy.longest_step_seconds + policy.terminate_grace_seconds + TICKS_SECONDS:
            raise Violation("a wait for an unused permit ends in time", f"the permits are with {self._world.permit_holder}")
        self._check_leases(fleet, now)
        self._check_vacancies(fleet, now)
        if self._is_ending:
            self._check_stop(now)
        elif self._is_restart_limit_reached(TICKS_SECONDS):
            raise Violation("gives up in time", f"{self._crashes} crashes, progress {self._progress_at}")

    def _unused_permit_seconds(self, now: float) -> float:
        """Return the longest wait for a permit while no worker is in a call."""
        workers = self._world.workers()
        waits = [now - worker.permit_since for worker in workers if worker.permit_since is not None]
        return 0.0 if any(worker.is_in_call for worker in workers) else max(waits, default=0.0)

    def _check_stop(self, now: float) -> None:
        """Check that a stop without workers ends within two ticks and the time for reclaiming leases."""
        policy = self._world.policy(0)
        if any(slot != MONITOR for slot in self._world.processes):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        alone_seconds = now - self._alone_since if self._alone_since is not None else 0.0
        is_late = now > self._drain_ends_at + policy.reclaim_seconds + TICKS_SECONDS
        if is_late or alone_seconds > policy.reclaim_seconds + 2 * policy.tick_seconds - SLACK_SECONDS:
            raise Violation("2: a stop is over in time", f"asked at {self._ending_since}, alone for {alone_seconds}")

    def _check_process(self, process: Process, now: float) -> None:
        policy, deadline = self._world.policy(0), process.deadline
        grace = policy.terminate_grace_seconds + TICKS_SECONDS
        if deadline is None:
            if now > process.started_at + policy.boot_timeout_seconds + grace:
                raise Violation("a boot ends in time", f"slot {process.slot}")
        elif now > deadline + grace:
            raise Violation("an exceeded deadline ends in time", f"slot {process.slot}")
        if now > process.over_limit_since + TICKS_SECONDS and isinstance(process, Worker):
            raise Violation("memory over the hard limit ends in time", f"slot {process.slot}")

    def _check_leases(self, fleet: Fleet, now: float) -> None:
        """Check that the holder of each lease lives, is not yet reaped, or is known to the supervisor as dead."""
        world = self._world
        for job in world.queue.leased():
            owner = world.key_owners[job.key]
            is_ours = world.processes.get(owner.slot) is owner or job.key in world.orphaned_keys
            is_due = any(dead.lease_key == job.key for dead in fleet.dead_leases)
            if not is_ours and not is_due and job.key in self._dead_since:
                raise Violation("4: no job is lost", f"the lease of job {job.id.int} is forgotten")
        monitor = world.processes.get(MONITOR)
        if isinstance(monitor, Monitor) and monitor.is_healthy and world.is_database_up:
            for dead in fleet.dead_leases:
                since = max(self._dead_since.get(dead.lease_key, now), monitor.booted_at, world.connected_at)
                if now > since + RECLAIM_SECONDS + TICKS_SECONDS:
                    raise Violation("4: the lease of a dead worker is reclaimed in time", f"slot {dead.slot}")

    def _check_vacancies(self, fleet: Fleet, now: float) -> None:
        if fleet.is_stopping:
            return
        policy = self._world.policy(0)
        for slot in (*fleet.wanted_workers, fleet.monitor):
            since = self._vacant_since.get(slot.number)
            if slot.is_occupied or since is None or now < self._world.forks_fail_until + policy.backoff_max_seconds:
                continue
            wait = 0.0 if len(slot.crash_runs) <= 1 else max(policy.backoff_max_seconds, BURST_SECONDS) + TICKS_SECONDS
            if now > since + wait + TICKS_SECONDS:
                raise Violation("no wanted slot stays vacant", f"slot {slot.number} since {since}")

    @property
    def _ending_since(self) -> float | None:
        """Time of the first request to stop, or of the supervisor's own decision: giving up, or a bad configuration."""
        asked = self._last.stop_asked_at_seconds
        return self._stops[0] if self._stops else asked[0] if asked else None

    @property
    def _is_ending(self) -> bool:
        return self._ending_since is not None

    @property
    def _drain_ends_at(self) -> float:
        policy = self._world.policy(0)
        leaves = (policy.drain_timeout_seconds, policy.drain_shortened_seconds, 0.0)
        asked = self._last.stop_asked_at_seconds
        return min(at + left for at, left in zip(asked, leaves, strict=False))

    def _is_restart_limit_reached(self, margin_seconds: float) -> bool:
        policy = self._world.policy(0)
        since = self._progress_at if self._progress_at is not None else self._first_start_at
        is_over = since is not None and self._world.clock.now >= since + policy.restart_window_seconds + margin_seconds
        return is_over and self._crashes >= policy.restart_intensity

    # The end

    def unsettled(self, fleet: Fleet) -> list[str]:
        """Name what is left to do before the fleet is as requested and all jobs have ended."""
        found = [f"job {job.id.int} is {job.status.value}" for job in self._world.queue.open]
        found += [
            f"slot {each.number} is {each.state.name}" for each in fleet.wanted_workers if each.state is not SlotState.RUNNING
        ]
        occupied = [each for each in fleet.slots if each.is_occupied]
        found += [f"slot {each.number} is not wanted" for each in occupied if each.number >= fleet.wanted]
        found += [f"slot {each.number} is outdated" for each in occupied if each.generation != fleet.generation]
        found += [f"slot {each.number} is to be recycled" for each in occupied if each.is_recycle_asked or each.is_retiring]
        found += [f"slot {each.number} has grown" for each in fleet.wanted_workers if self._has_grown(each)]
        found += [f"a lease of slot {dead.slot} is out" for dead in fleet.dead_leases]
        return found + (["it stops"] if fleet.is_stopping else [])

    def _has_grown(self, slot: Slot) -> bool:
        growth_bytes = slot.rss_bytes - (slot.baseline_bytes or slot.rss_bytes)
        return growth_bytes > self._world.policy(0).memory_soft_bytes

    def never_ended(self, unsettled: list[str]) -> Violation:
        is_job = any(each.startswith("job") for each in unsettled)
        return Violation("4: no job is lost" if is_job else "the fleet becomes as requested", "; ".join(unsettled[:5]))
