"""The simulated system behind the loop: it yields facts and performs actions, and the clock jumps between them.

The supervisor sleeps to the next signal, exit or message, and reads a changed scoreboard at its next tick. Ticks without a
change are left out, because `decide` would return the same. This makes a simulated hour cheap.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from uuid import UUID

from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    Fact,
    FactOfTheFleet,
    GaveUp,
    Killed,
    LeaseReclaimed,
    Measured,
    ReclaimSent,
    Retired,
    Spawned,
    SpawnFailed,
    Terminated,
)
from supervisor.core.fleet import MONITOR, Fleet, Slot
from supervisor.core.policy import Policy
from supervisor.core.rules import wake_at
from testkit.simulation.clock import Clock
from testkit.simulation.fault import break_something
from testkit.simulation.inspector import Inspector
from testkit.simulation.job_queue import Job, JobQueue
from testkit.simulation.monitor import Monitor
from testkit.simulation.plan import Plan
from testkit.simulation.process import SIGKILL, Activity, Process
from testkit.simulation.worker import Worker
from worker.ipc.scoreboard import ControlRecord

LONGEST_SLEEP_SECONDS = 600.0
RECONNECT_SECONDS = 5.0
LATENCY_SECONDS = 0.0005  # from an event to the supervisor's observation
PICKUP_SECONDS, POLL_SECONDS = 0.002, 0.5
CALM_SECONDS = 7200.0  # within which all jobs must have ended
POLICY = Policy()
_UNTICKED = replace(POLICY, tick_seconds=math.inf, busy_tick_seconds=math.inf)
_EAGAIN = 11


class SupervisorKilled(Exception):
    """The supervisor got SIGKILL."""


class AllDone(Exception):
    """Every job has ended, and the fleet is as requested."""


class World:
    """The simulated system. `fleet` is the supervisor's fleet at its last wait."""

    hard_limit_bytes = POLICY.memory_hard_bytes

    def __init__(self, plan: Plan) -> None:
        self.plan, self.random, self.clock = plan, Random(plan.seed), Clock()
        self.queue = JobQueue(self.poll_queue)
        self.is_database_up, self.connected_at = True, 0.0
        self.permit_holder: Process | None = None
        self.forks_fail_until, self.calm_at = 0.0, plan.ends_at_seconds
        self.slow_boots_until: dict[int, float] = {}
        self.bad_boots_until: dict[int, float] = {}
        self.bad_generations: set[int] = set()
        self.orphaned_keys: set[UUID] = set()
        self.key_owners: dict[UUID, Worker] = {}
        self._numbers = 0
        self._waiting: list[tuple[Process, Callable[[], None]]] = []
        self._polls_at = math.inf
        for number, job in enumerate(plan.jobs):
            self.clock.at(job.at_seconds, partial(self._enter, Job(number, job.trait)))
        for fault in plan.faults:
            self.clock.at(fault.at_seconds, partial(break_something, self, fault))
        self.clock.at(plan.ends_at_seconds, self._become_calm)
        self._reset()
        self.inspector = Inspector(self)

    def begin_life(self) -> None:
        """Start a new supervisor. Of the one before, only the database is left."""
        self._reset()
        self.inspector.begin_life()

    def _reset(self) -> None:
        self.fleet = Fleet.of(self.plan.workers)
        self.control = ControlRecord()
        self.processes: dict[int, Process] = {}  # by slot, zombies included
        self.requests: list[FactOfTheFleet] = []
        self.generation = 0
        self._zombies: list[Process] = []
        self._messages: list[Fact] = []
        self._is_awake, self._is_killed, self._tick_limit = False, False, math.inf
        self._slept_at = self.clock.now
        self.bad_generations.clear()

    # The System of supervisor.loop

    def now(self) -> float:
        return self.clock.now

    @staticmethod
    def policy(_generation: int) -> Policy:
        return POLICY

    def wait(self, fleet: Fleet, until_seconds: float) -> Iterator[Fact]:
        self.fleet = fleet
        self.inspector.check(fleet)
        if self.clock.now >= self.calm_at:
            self._check_end(fleet)
        self._sleep(fleet, until_seconds)
        requests, self.requests = self.requests, []
        yield from requests
        for slot in fleet.slots:
            if slot.is_occupied:
                yield from self._read(slot, self.processes[slot.number])
        messages, self._messages = self._messages, []
        yield from messages
        zombies, self._zombies = self._zombies, []
        for zombie in zombies:
            yield self._reaped(zombie)

    def perform(self, action: Action, fleet: Fleet) -> Iterator[Fact]:
        self.inspector.check_action(action, fleet)
        now = self.clock.now
        match action:
            case Spawn(slot):
                yield self._spawn(slot, fleet.generation)
            case Terminate(slot, stop_by_seconds, why):
                self.processes[slot].terminate()
                yield Terminated(slot, why, stop_by_seconds, now)
            case Kill(slot, why):
                self._kill(self.processes[slot])
                yield Killed(slot, why, now)
            case Retire(slot, why):
                yield Retired(slot, why, now)
            case GiveUp():
                yield GaveUp(now)
            case ReclaimLease(_, _, lease_key, is_counted):
                yield from self._send(lease_key, fleet.monitor.incarnation, is_counted=is_counted)
            case Finish():
                pass

    def write_control_record(self, control: ControlRecord) -> None:
        if control == self.control:
            return
        before, self.control = self.control, control
        for slot, process in self.processes.items():
            if slot != MONITOR and control.is_retiring(slot) and not before.is_retiring(slot):
                process.later(0.002, process.noticed)
        self.poll_queue()

    def publish(self, fleet: Fleet) -> None:
        """Do nothing: the simulated monitor does not read the scoreboard."""

    # The sleep of the supervisor

    def _sleep(self, fleet: Fleet, until_seconds: float) -> None:
        self._slept_at = self.clock.now
        just_before = self.clock.now - LATENCY_SECONDS  # an event of this instant belongs to the next turn
        longest = until_seconds if fleet.is_stopping else wake_at(fleet, _UNTICKED, just_before)
        limit = min(longest, self.clock.now + LONGEST_SLEEP_SECONDS)
        while not self._is_awake:
            limit = min(limit, self._tick_limit)
            if self.clock.next_time > limit:
                self.clock.now = limit
                break
            self.clock.run_next()
            if self._is_killed:
                raise SupervisorKilled
        self._is_awake, self._tick_limit = False, math.inf
        self.clock.now += LATENCY_SECONDS

    def scoreboard_changed(self) -> None:
        """Wake the supervisor at its next tick."""
        tick = POLICY.busy_tick_seconds if any(slot.is_busy for slot in self.fleet.slots) else POLICY.tick_seconds
        ticks = (self.clock.now - self._slept_at) // tick + 1
        self._tick_limit = min(self._tick_limit, self._slept_at + ticks * tick)

    def ended(self, process: Process) -> None:
        self._zombies.append(process)
        self._is_awake = True

    def request(self, fact: FactOfTheFleet) -> None:
        """Deliver a signal, or a command over the control socket."""
        self.requests.append(fact)
        self._is_awake = True

    def reclaimed(self, key: UUID, outcome: str) -> None:
        self._messages.append(LeaseReclaimed(key, outcome))
        self._is_awake = True

    def kill_supervisor(self) -> None:
        self._is_killed = True

    def end_life(self) -> None:
        """End all children with their supervisor, and note their leases as those of a dead instance."""
        for process in self.processes.values():
            process.is_alive = False
        self.orphaned_keys = {job.key for job in self.queue.leased()}
        self._waiting.clear()

    def pass_time(self, seconds: float) -> None:
        """Run the planned events between two supervisors."""
        until = self.clock.now + seconds
        while self.clock.next_time <= until:
            self.clock.run_next()
        self.clock.now = until

    # Processes

    def _spawn(self, slot: int, generation: int) -> Fact:
        now = self.clock.now
        if now < self.forks_fail_until:
            return SpawnFailed(slot, _EAGAIN, now, self.random.random())
        self._numbers += 1
        kind = Monitor if slot == MONITOR else Worker
        process = kind(self, 1000 + self._numbers, slot, self._numbers, generation)
        self.processes[slot] = process
        process.boot()
        return Spawned(slot, process.pid, process.incarnation, now)

    def _kill(self, process: Process) -> None:
        """Kill the process after a moment, and later if it is in a system call. It goes on until then."""
        is_slow = isinstance(process, Worker) and self.random.random() < 0.3
        self.clock.at(self.clock.now + (0.8 if is_slow else 0.001), partial(process.end, SIGKILL))

    def _read(self, slot: Slot, process: Process) -> Iterator[Fact]:
        deadline, step = process.deadline, _step_of(process)
        before = slot.is_busy, slot.is_in_call, slot.permit_since_seconds
        if deadline is not None and (deadline != slot.deadline_seconds or step != before):
            is_ready = process.activity not in {Activity.BOOT, Activity.CONNECT}
            yield DeadlineSet(slot.number, deadline, self.clock.now, is_ready, *step)
        if process.rss_bytes != process.measured_bytes or (slot.baseline_bytes is None and deadline is not None):
            process.measured_bytes = process.rss_bytes
            yield Measured(slot.number, process.rss_bytes, self.clock.now)

    def _reaped(self, zombie: Process) -> Exited:
        del self.processes[zombie.slot]
        self.inspector.reaped(zombie)
        job, key, next_key = (zombie.job, zombie.key, zombie.next_key) if isinstance(zombie, Worker) else (None, None, None)
        return Exited(
            zombie.slot,
            zombie.pid,
            zombie.status,
            self.clock.now,
            job.id if job else None,
            key,
            next_key,
            zombie.is_oom,
            self.random.random(),
        )

    def _send(self, key: UUID, incarnation: int, *, is_counted: bool) -> Iterator[Fact]:
        monitor = self.processes[MONITOR]
        if isinstance(monitor, Monitor) and monitor.is_alive and self.random.random() > 0.05:
            monitor.later(0.001, lambda: monitor.reclaim_requested(key, is_counted=is_counted))
            yield ReclaimSent(key, incarnation)
        else:  # the socket is full, so the supervisor tries again at its next tick
            self.scoreboard_changed()

    @property
    def is_permit_lost(self) -> bool:
        """The end of a process ends its session, which frees what the session holds."""
        return self.permit_holder is not None and self.permit_holder.is_alive

    def workers(self) -> list[Worker]:
        """Return the living workers, in the order of their slots."""
        found = (process for _, process in sorted(self.processes.items()))
        return [process for process in found if isinstance(process, Worker) and process.is_alive]

    def boot_seconds(self, slot: int) -> float:
        if self.clock.now < self.slow_boots_until.get(slot, 0.0):
            return self.random.choice((10.0, 100.0, math.inf))
        return self.random.uniform(0.05, 0.4)

    def boot_fails(self, slot: int) -> bool:
        return self.clock.now < self.bad_boots_until.get(slot, 0.0)

    def is_bad(self, generation: int) -> bool:
        return generation in self.bad_generations

    # The database

    def new_key(self, owner: Worker) -> UUID:
        self._numbers += 1
        key = UUID(int=2**64 + self._numbers)
        self.key_owners[key] = owner
        return key

    def when_connected(self, process: Process, do: Callable[[], None]) -> None:
        if self.is_database_up:
            process.later(0.005, do)
        else:
            self._waiting.append((process, do))

    def set_database(self, *, is_up: bool) -> None:
        """Begin or end an outage. Processes reconnect at different times within five seconds after it."""
        self.is_database_up, self.connected_at = is_up, self.clock.now + RECONNECT_SECONDS
        if is_up:
            waiting, self._waiting = self._waiting, []
            for process, do in waiting:
                process.later(self.random.uniform(0.01, RECONNECT_SECONDS), partial(self.when_connected, process, do))
            self.poll_queue()

    def poll_queue(self) -> None:
        """Let the monitor wake an idle worker, or a worker poll if the monitor is unhealthy."""
        if not self.queue.open:
            return
        monitor = self.processes.get(MONITOR)
        seconds = PICKUP_SECONDS if monitor is not None and monitor.is_healthy else POLL_SECONDS
        at = self.clock.now + seconds
        if at < self._polls_at:
            self._polls_at = at
            self.clock.at(at, self._poll)

    def _poll(self) -> None:
        if self.clock.now < self._polls_at:
            return
        self._polls_at = math.inf
        if self.is_database_up and self.queue.has_visible(self.clock.now):
            idle = next((worker for worker in self.workers() if worker.can_lease()), None)
            if idle is not None:
                idle.lease()
                self.poll_queue()

    def _enter(self, job: Job) -> None:
        self.queue.enter(job)

    # The end

    def _become_calm(self) -> None:
        """End all faults."""
        self.set_database(is_up=True)
        self.forks_fail_until = 0.0
        self.slow_boots_until.clear()
        self.bad_boots_until.clear()
        self.poll_queue()

    def _check_end(self, fleet: Fleet) -> None:
        unsettled = self.inspector.unsettled(fleet)
        if not unsettled:
            raise AllDone
        if self.clock.now > self.calm_at + CALM_SECONDS:
            raise self.inspector.never_ended(unsettled)


def _step_of(process: Process) -> tuple[bool, bool, float | None]:
    if not isinstance(process, Worker):
        return False, False, None
    return process.is_busy, process.is_in_call, process.permit_since if process.activity is Activity.PERMIT else None
