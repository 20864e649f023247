"""The world as the loop sees it: facts come in, actions go out. Nothing here decides, and nothing here waits but `wait`."""

import os
import random
import secrets
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

from supervisor.adapters import processes
from supervisor.adapters.cgroup import OomWatch, own_memory_events
from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.memory import MemoryWatch
from supervisor.adapters.signals import STOP, SignalInbox
from supervisor.commands import BY_SIGNAL, CommandHandler, signalled
from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    Fact,
    GaveUp,
    Killed,
    LeaseReclaimed,
    LeaseSent,
    Retired,
    Spawned,
    SpawnFailed,
    StopAsked,
    Terminated,
)
from supervisor.core.fleet import MONITOR, Fleet, ReloadProblem, Slot, SlotState
from supervisor.core.policy import Policy
from supervisor.systemd import Notifier
from worker.ipc import channel
from worker.ipc.channel import Command
from worker.ipc.contract import BUSY, Activity
from worker.ipc.scoreboard import MAX_SLOTS, ControlRecord, FleetRecord, LedgerRecord, Scoreboard, WorkerRecord

MAX_DEADLINE_SECONDS = 86_400.0  # no step is longer: a longer deadline is no deadline

ChildMain = Callable[[int, int, int], int]  # (slot number, incarnation, generation of the settings) -> exit code


class UnixSystem:
    """Signals, children, their memory, the scoreboard, the monitor's channel and the service manager.

    What is told is compared with what stands in the scoreboard, so that a record which a worker has damaged is soon whole again.
    """

    def __init__(
        self,
        scoreboard: Scoreboard,
        descriptors: Descriptors,
        signals: SignalInbox,
        child: ChildMain,
        policy: Callable[[int], Policy],
        desk: CommandHandler,
        notifier: Notifier,
    ) -> None:
        self._scoreboard, self._descriptors, self._signals, self._child = scoreboard, descriptors, signals, child
        self.policy, self._desk, self._notifier = policy, desk, notifier
        self._memory, self._oom = MemoryWatch(), OomWatch(own_memory_events())
        self._looked_at_seconds = time.monotonic()

    def now(self) -> float:
        """When the look began whose facts came last: whoever was stopped since, judges nobody by a time that he has not seen."""
        return self._looked_at_seconds

    def wait(self, fleet: Fleet, until_seconds: float) -> Iterator[Fact]:
        """Sleeps until a signal, a message or the time; then everything that is new."""
        self._sleep(until_seconds)
        self._looked_at_seconds = time.monotonic()
        heard = self._signals.take()
        for _ in range(sum(heard[number] for number in STOP)):
            yield StopAsked(self.now())
        yield from self._ordered(signalled(heard, fleet), fleet)
        yield from (deadlines := tuple(self._deadlines(fleet)))
        yield from self._memory.measured(fleet, self.now(), {deadline.slot for deadline in deadlines if not deadline.is_busy})
        yield from self._messages(fleet)
        yield from self._exited(fleet)

    def perform(self, action: Action, fleet: Fleet) -> Iterator[Fact]:
        """Does it, and says what then is so; nothing if it could not be done: the rules will ask again."""
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
                    yield LeaseSent(lease_key, fleet.monitor.incarnation)
            case Finish():
                pass

    def write_control_record(self, control: ControlRecord) -> None:
        """Tells all workers how many may lease; before anybody is signalled, so that they find the drain's end."""
        before = self._scoreboard.control.read()
        if control == before:
            return
        self._scoreboard.control.write(control)
        for slot in range(MAX_SLOTS):
            if control.is_retiring(slot) and not before.is_retiring(slot):
                os.eventfd_write(self._descriptors.wake_fds[slot], 1)

    def publish(self, fleet: Fleet) -> None:
        """Shows the fleet to the monitor, where it is not so shown; tells the service manager that the loop goes round."""
        for slot in fleet.slots:
            cell = self._scoreboard.ledgers[slot.number] if slot.is_worker else self._scoreboard.monitor_ledger
            if cell.read() != (shown := _ledger(slot)):
                cell.write(shown)
        if self._scoreboard.fleet.read() != (shown_fleet := _fleet(fleet)):
            self._scoreboard.fleet.write(shown_fleet)
        self._notifier.tell(fleet, self.now())

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
        ours = {*self._signals.fds, *self._oom.fds}
        if slot != MONITOR:
            return processes.spawn(main, self._descriptors.not_for_worker(slot) | ours)
        self._descriptors.renew_channel()
        try:
            return processes.spawn(main, self._descriptors.not_for_monitor() | ours)
        finally:
            self._descriptors.drop_monitor_end()

    def _deadlines(self, fleet: Fleet) -> Iterator[DeadlineSet]:
        for slot in (slot for slot in fleet.slots if slot.is_occupied):
            claim = self._claim_of(slot)
            deadline_seconds = self._deadline_of(slot, claim)
            if deadline_seconds is None:
                continue
            is_busy = claim is not None and claim.activity in BUSY
            if (deadline_seconds, is_busy) != (slot.deadline_seconds, slot.is_busy):
                yield DeadlineSet(slot.number, deadline_seconds, self.now(), claim is not None and claim.is_ready, is_busy)

    def _deadline_of(self, slot: Slot, claim: WorkerRecord | None) -> float | None:
        """The claim of the process that is in the slot now; a record of its predecessor says nothing about it."""
        if slot.number == MONITOR:
            monitor_record = self._scoreboard.monitor.read()
            return monitor_record.deadline_seconds if monitor_record.incarnation == slot.incarnation else None
        if claim is None or claim.activity == Activity.BOOT:
            return None
        return min(claim.deadline_seconds, claim.progress_seconds + MAX_DEADLINE_SECONDS)

    def _claim_of(self, slot: Slot) -> WorkerRecord | None:
        claim = self._scoreboard.worker(slot.number) if slot.is_worker else None
        return claim if claim and claim.incarnation == slot.incarnation else None

    def _ordered(self, orders: Iterable[Command], fleet: Fleet) -> Iterator[Fact]:
        for order in orders:
            answer, fact = self._desk.take(order, fleet, self.now())
            if order.number != BY_SIGNAL:
                channel.send(self._descriptors.channel_fd, answer)
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
                    yield from self._ordered([message], fleet)
                case channel.ReclaimLeaseRequest() | channel.CommandResult():
                    pass  # ours to send: whoever sends us one is out of order
                case _:
                    assert_never(message)

    def _exited(self, fleet: Fleet) -> Iterator[Fact]:
        """Strangers that came to us as a subreaper or as a container's first process are reaped without a word."""
        slots = {slot.pid: slot for slot in fleet.slots if slot.state is not SlotState.VACANT}
        self._oom.look(self.now())
        for pid, status in processes.reap(slots.keys()):
            slot = slots.get(pid)
            if slot is None:
                continue
            if slot.number == MONITOR:
                self._descriptors.drop_channel()
            claim = self._claim_of(slot)
            yield Exited(
                slot.number,
                pid,
                status,
                self.now(),
                claim.job_id if claim else None,
                claim.lease_key if claim else None,
                claim.next_lease_key if claim else None,
                is_oom=status == -signal.SIGKILL and slot.state is not SlotState.KILLED and self._oom.claim(self.now()),
                jitter=random.random(),  # noqa: S311  jitter is no secret
            )


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


def _fleet(fleet: Fleet) -> FleetRecord:
    problem = list(ReloadProblem).index(fleet.reload_problem) + 1 if fleet.reload_problem else 0
    return FleetRecord(fleet.wanted, fleet.is_reloading, fleet.gave_up, problem)
