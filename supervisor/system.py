"""The operating system behind the loop: it yields facts and performs actions. Only `wait` blocks, and only `core` decides."""

import os
import random
import secrets
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import assert_never

from supervisor.adapters import processes
from supervisor.adapters.cgroup import OomWatch, own_memory_events
from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.memory import MemoryWatch
from supervisor.adapters.signals import Effect, SignalInbox
from supervisor.adapters.survivors import kill_survivors_of_worker
from supervisor.commands import BY_SIGNAL, CommandHandler, commands_of
from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    Fact,
    GaveUp,
    Killed,
    LeaseReclaimed,
    ReclaimSent,
    Retired,
    Spawned,
    SpawnFailed,
    StopAsked,
    SurvivorKilled,
    Terminated,
)
from supervisor.core.fleet import MONITOR, Fleet, ReloadProblem, Slot, SlotState
from supervisor.core.policy import Policy
from supervisor.systemd import Notifier
from worker.ipc import channel
from worker.ipc.channel import Command
from worker.ipc.contract import BEFORE_A_CALL, JOB_ACTIVITIES, MODEL_CALLS, Activity
from worker.ipc.scoreboard import MAX_SLOTS, ControlRecord, FleetRecord, LedgerRecord, Scoreboard, WorkerRecord

MAX_DEADLINE_SECONDS = 86_400.0  # the longest possible step, so a later deadline is capped

ChildMain = Callable[[int, int, int], int]  # (slot number, incarnation, generation of the settings) -> exit code


class UnixSystem:
    """Signals, children, their memory, the scoreboard, the monitor's channel and the service manager.

    Records are re-read and rewritten if they differ, so that a record damaged by a worker is repaired.
    """

    def __init__(
        self,
        scoreboard: Scoreboard,
        descriptors: Descriptors,
        signals: SignalInbox,
        child: ChildMain,
        policy: Callable[[int], Policy],
        commands: CommandHandler,
        notifier: Notifier,
        check_instance: Callable[[], None],
    ) -> None:
        self._scoreboard, self._descriptors, self._signals, self._child = scoreboard, descriptors, signals, child
        self.policy, self._commands, self._notifier = policy, commands, notifier
        self._check_instance = check_instance
        self._memory, self._oom = MemoryWatch(), OomWatch(own_memory_events())
        self._observed_at_seconds = time.monotonic()

    def now(self) -> float:
        """Return the time of the last observation. After a suspension of the supervisor, deadlines are still compared with it."""
        return self._observed_at_seconds

    def wait(self, fleet: Fleet, until_seconds: float) -> Iterator[Fact]:
        """Sleep until a signal, a message or the time, then yield all new facts."""
        self._sleep(until_seconds)
        self._check_instance()
        self._observed_at_seconds = time.monotonic()
        requested = self._signals.take()
        for _ in range(requested[Effect.STOP]):
            yield StopAsked(self.now())
        yield from self._obey(commands_of(requested, fleet), fleet)
        deadlines = tuple(self._deadlines(fleet))
        newly_idle = {deadline.slot for deadline in deadlines if not deadline.is_busy}
        yield from deadlines
        yield from self._memory.measured(fleet, self.now(), newly_idle)
        yield from self._messages(fleet)
        yield from self._exited(fleet)

    def perform(self, action: Action, fleet: Fleet) -> Iterator[Fact]:
        """Perform the action and yield the resulting fact. A failed one yields none, so the rules decide it again."""
        match action:
            case Spawn(slot):
                yield self._spawn(slot, fleet.generation)
            case Terminate(slot, stop_by_seconds, why):
                processes.terminate(fleet.slot(slot).pid)
                yield Terminated(slot, why, stop_by_seconds, time.monotonic())
            case Kill(slot, why):
                processes.kill(fleet.slot(slot).pid)
                yield Killed(slot, why, time.monotonic())
            case Retire(slot, why):
                yield Retired(slot, why, time.monotonic())
            case GiveUp():
                yield GaveUp(time.monotonic())
            case ReclaimLease(_, job_id, lease_key, is_counted):
                request = channel.ReclaimLeaseRequest(job_id=job_id, lease_key=lease_key, is_counted=is_counted)
                if channel.send(self._descriptors.channel_fd, request):
                    yield ReclaimSent(lease_key, fleet.monitor.incarnation)
            case Finish():
                pass

    def write_control_record(self, control: ControlRecord) -> None:
        """Write the record that all workers read, and wake those whose retiring bit is new."""
        before = self._scoreboard.control.read()
        if control == before:
            return
        self._scoreboard.control.write(control)
        for slot in range(MAX_SLOTS):
            if control.is_retiring(slot) and not before.is_retiring(slot):
                os.eventfd_write(self._descriptors.wake_fds[slot], 1)

    def publish(self, fleet: Fleet) -> None:
        """Write the fleet to the scoreboard where it differs, the heartbeat in each turn, and notify the service manager."""
        for slot in fleet.slots:
            cell = self._scoreboard.ledgers[slot.number] if slot.is_worker else self._scoreboard.monitor_ledger
            ledger_record = _ledger(slot)
            if cell.read() != ledger_record:
                cell.write(ledger_record)
        self._scoreboard.fleet.write(_fleet(fleet, time.monotonic()))
        self._notifier.notify(fleet, self.now())

    def _sleep(self, until_seconds: float) -> None:
        poll = select.poll()
        for fd in (self._signals.fd, self._descriptors.channel_fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        poll.poll(max(0.0, until_seconds - time.monotonic()) * 1000)

    def _spawn(self, slot: int, generation: int) -> Fact:
        incarnation = 1 + secrets.randbelow(2**32 - 1)
        try:
            pid = self._fork(slot, lambda: self._child(slot, incarnation, generation))
        except OSError as error:
            return SpawnFailed(slot, error.errno or 0, time.monotonic(), random.random())  # noqa: S311  jitter is no secret
        return Spawned(slot, pid, incarnation, time.monotonic())

    def _fork(self, slot: int, main: Callable[[], int]) -> int:
        closed_fds = {*self._signals.fds, *self._oom.fds}
        if slot != MONITOR:
            return processes.spawn(main, self._descriptors.not_for_worker(slot) | closed_fds)
        self._descriptors.renew_channel()
        try:
            return processes.spawn(main, self._descriptors.not_for_monitor() | closed_fds)
        finally:
            self._descriptors.drop_monitor_end()

    def _deadlines(self, fleet: Fleet) -> Iterator[DeadlineSet]:
        for slot in fleet.slots:
            if not slot.is_occupied:
                continue
            claim = self._claim_of(slot)
            deadline_seconds = self._deadline_of(slot, claim)
            if deadline_seconds is None:
                continue
            step, is_ready = _step_of(claim), claim is not None and claim.is_ready
            if (deadline_seconds, *step) != (slot.deadline_seconds, slot.is_busy, slot.is_in_call, slot.permit_since_seconds):
                yield DeadlineSet(slot.number, deadline_seconds, self.now(), is_ready, *step)

    def _deadline_of(self, slot: Slot, claim: WorkerRecord | None) -> float | None:
        """Return the deadline in the record of the process in the slot, or None if it has written none yet."""
        if slot.number == MONITOR:
            monitor_record = self._scoreboard.monitor.read()
            return monitor_record.deadline_seconds if monitor_record.incarnation == slot.incarnation else None
        if claim is None or claim.activity == Activity.BOOT:
            return None
        return min(claim.deadline_seconds, claim.alive_seconds + MAX_DEADLINE_SECONDS)

    def _claim_of(self, slot: Slot) -> WorkerRecord | None:
        claim = self._scoreboard.worker(slot.number) if slot.is_worker else None
        return claim if claim and claim.incarnation == slot.incarnation else None

    def _obey(self, commands: Iterable[Command], fleet: Fleet) -> Iterator[Fact]:
        for command in commands:
            result, fact = self._commands.handle(command, fleet, self.now())
            if command.number != BY_SIGNAL:
                channel.send(self._descriptors.channel_fd, result)
            if fact is not None:
                yield fact

    def _messages(self, fleet: Fleet) -> Iterator[Fact]:
        if self._descriptors.channel_fd < 0:
            return
        messages = channel.receive(self._descriptors.channel_fd)
        if messages is None:
            self._descriptors.drop_channel()
        for message in messages or ():
            match message:
                case channel.LeaseReclaimedReport(lease_key=lease_key, outcome=outcome):
                    yield LeaseReclaimed(lease_key, outcome)
                case channel.ScaleCommand() | channel.RecycleCommand() | channel.ReloadCommand():
                    if self._take(message):
                        yield from self._obey([message], fleet)
                case channel.ReclaimLeaseRequest() | channel.CommandResult():
                    pass  # the supervisor sends these, and a monitor that does is wrong
                case _:
                    assert_never(message)

    def _take(self, command: Command) -> bool:
        """Take a command before its end. False if the monitor has withdrawn it and answered so."""
        is_taken = time.monotonic() < command.until_seconds and channel.take(self._descriptors.token_fd, command.number)
        if not is_taken:
            self._commands.drop(command)
        return is_taken

    def _exited(self, fleet: Fleet) -> Iterator[Fact]:
        """Reap all ended children. Adopted ones, which hold no slot, yield no fact."""
        slots = {slot.pid: slot for slot in fleet.slots if slot.state is not SlotState.VACANT}
        self._oom.update(self.now())
        for pid, status in processes.reap(slots.keys()):
            slot = slots.get(pid)
            if slot is None:
                continue
            if slot.number == MONITOR:
                yield from self._messages(fleet)  # its last reports, sent since the channel was read in this turn
                self._descriptors.drop_channel()
            claim = self._claim_of(slot) or WorkerRecord()  # the empty record has no job and no lease
            leases = claim.job_id, claim.lease_key, claim.next_lease_key
            is_oom, jitter = self._is_oom(slot, status), random.random()  # noqa: S311  jitter is no secret
            calls = claim.activity in BEFORE_A_CALL, claim.activity in self.policy(slot.generation).foreign_calls
            yield Exited(slot.number, pid, status, self.now(), *leases, is_oom, jitter, *calls)
            yield from self._survivors_killed(slot, slots.keys())

    def _survivors_killed(self, slot: Slot, own_pids: Collection[int]) -> Iterator[SurvivorKilled]:
        """Kill the processes that hold the dead worker's descriptors. No process can be in its slot yet."""
        if slot.is_worker:
            for pid in kill_survivors_of_worker(self._descriptors.event_write_fds[slot.number], own_pids):
                yield SurvivorKilled(slot.number, pid)

    def _is_oom(self, slot: Slot, status: int) -> bool:
        """Attribute an exit by a SIGKILL that the supervisor did not send to the kernel, if it has counted a kill."""
        return status == -signal.SIGKILL and slot.state is not SlotState.KILLED and self._oom.claim(self.now())


def _step_of(claim: WorkerRecord | None) -> tuple[bool, bool, float | None]:
    """Return if the worker has a job in hand, if it calls a model, and since when it waits for a permit."""
    if claim is None:
        return False, False, None
    permit_since_seconds = claim.activity_since_seconds if claim.activity == Activity.PERMIT else None
    return claim.activity in JOB_ACTIVITIES, claim.activity in MODEL_CALLS, permit_since_seconds


def _ledger(slot: Slot) -> LedgerRecord:
    return LedgerRecord(
        slot.state,
        slot.pid,
        slot.starts,
        slot.since_seconds,
        slot.last_status,
        slot.last_cause,
        slot.is_retiring,
        slot.rss_bytes,
        slot.ends_by_cause,
    )


def _fleet(fleet: Fleet, now_seconds: float) -> FleetRecord:
    problem = list(ReloadProblem).index(fleet.reload_problem) + 1 if fleet.reload_problem else 0
    return FleetRecord(fleet.wanted, fleet.is_reloading, fleet.gave_up, problem, now_seconds)
