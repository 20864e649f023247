"""The world as the loop sees it: facts come in, actions go out. Nothing here decides, and nothing here waits but `wait`."""

import os
import random
import secrets
import select
import time
from collections.abc import Callable, Iterator

from supervisor import channel
from supervisor.adapters import process
from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.signal_inbox import SignalInbox
from supervisor.core.action import Action, Finish, GiveUp, Kill, Retire, ReturnLease, Spawn, Terminate
from supervisor.core.fact import (
    Exited,
    Fact,
    GaveUp,
    Killed,
    LeaseReturned,
    LeaseSent,
    Promised,
    Retired,
    Spawned,
    SpawnFailed,
    StopAsked,
    Terminated,
)
from supervisor.core.fleet import MONITOR, Fleet, Slot, Stage
from supervisor.core.policy import Policy
from worker.contract import Phase
from worker.scoreboard import MAX_SLOTS, ControlRecord, LedgerRecord, Scoreboard, WorkerRecord

BUSY = frozenset(Phase) - {Phase.BOOT, Phase.CONNECT, Phase.IDLE, Phase.LEASE}
MAX_PROMISE_SECONDS = 86_400.0  # no step is longer: a longer promise is no promise

ChildMain = Callable[[int, int], int]  # (slot number, incarnation) -> exit code


class UnixWorld:
    """Signals, children, the scoreboard and the monitor's channel."""

    def __init__(
        self,
        scoreboard: Scoreboard,
        descriptors: Descriptors,
        signals: SignalInbox,
        child: ChildMain,
        policy: Callable[[int], Policy],
    ) -> None:
        self._scoreboard, self._descriptors, self._signals, self._child = scoreboard, descriptors, signals, child
        self.policy = policy
        self._published: dict[int, LedgerRecord] = {}
        self._control = ControlRecord()
        scoreboard.write_control(self._control)

    @staticmethod
    def now() -> float:
        return time.monotonic()

    def wait(self, fleet: Fleet, until_seconds: float) -> Iterator[Fact]:
        """Sleeps until a signal, a message or the time; then everything that is new."""
        self._sleep(until_seconds)
        for _ in range(self._signals.take_stops()):
            yield StopAsked(self.now())
        yield from self._promised(fleet)
        yield from self._returned()
        yield from self._exited(fleet)

    def perform(self, action: Action, fleet: Fleet) -> Iterator[Fact]:
        """Does it, and says what then is so; nothing if it could not be done: the rules will ask again."""
        match action:
            case Spawn(slot):
                yield self._spawn(slot)
            case Terminate(slot, stop_by_seconds, why):
                process.terminate(fleet.slot(slot).pid)
                yield Terminated(slot, why, stop_by_seconds, self.now())
            case Kill(slot, why):
                process.kill(fleet.slot(slot).pid)
                yield Killed(slot, why, self.now())
            case Retire(slot, why):
                yield Retired(slot, why, self.now())
            case GiveUp():
                yield GaveUp(self.now())
            case ReturnLease(_, job_id, lease_key, is_counted):
                request = channel.ReturnLeaseRequest(job_id=job_id, lease_key=lease_key, is_counted=is_counted)
                if channel.send(self._descriptors.channel_fd, request):
                    yield LeaseSent(lease_key, fleet.monitor.incarnation)
            case Finish():
                pass

    def instruct(self, control: ControlRecord) -> None:
        """Tells all workers how many may lease; before anybody is signalled, so that they find the drain's end."""
        if control == self._control:
            return
        self._scoreboard.write_control(control)
        for slot in range(MAX_SLOTS):
            if control.is_retiring(slot) and not self._control.is_retiring(slot):
                os.eventfd_write(self._descriptors.wake_fds[slot], 1)
        self._control = control

    def publish(self, fleet: Fleet) -> None:
        """Shows the fleet to the monitor, slot by slot, where it changed."""
        for slot in fleet.slots:
            shown = LedgerRecord(slot.stage, slot.pid, slot.starts, slot.crashes, slot.since_seconds, slot.last_status)
            if self._published.get(slot.number) != shown:
                self._scoreboard.write_ledger(slot.number, shown)
                self._published[slot.number] = shown

    def _sleep(self, until_seconds: float) -> None:
        poll = select.poll()
        for fd in (self._signals.fd, self._descriptors.channel_fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        poll.poll(max(0.0, until_seconds - self.now()) * 1000)

    def _spawn(self, slot: int) -> Fact:
        incarnation = 1 + secrets.randbelow(2**32 - 1)
        try:
            pid = self._fork(slot, incarnation)
        except OSError as error:
            return SpawnFailed(slot, error.errno or 0, self.now(), random.random())  # noqa: S311  jitter is no secret
        return Spawned(slot, pid, incarnation, self.now())

    def _fork(self, slot: int, incarnation: int) -> int:
        signals = set(self._signals.fds)
        if slot != MONITOR:
            return process.spawn(lambda: self._child(slot, incarnation), self._descriptors.not_for_worker(slot) | signals)
        self._descriptors.renew_channel()
        try:
            return process.spawn(lambda: self._child(slot, incarnation), self._descriptors.not_for_monitor() | signals)
        finally:
            self._descriptors.drop_monitor_end()

    def _promised(self, fleet: Fleet) -> Iterator[Fact]:
        for slot in fleet.slots:
            deadline_seconds = self._deadline_of(slot) if slot.is_occupied else None
            if deadline_seconds is None:
                continue
            phase = self._phase_of(slot)
            is_ready, is_busy = phase is not None and phase not in {Phase.BOOT, Phase.CONNECT}, phase in BUSY
            if (deadline_seconds, is_busy) != (slot.deadline_seconds, slot.is_busy):
                yield Promised(slot.number, deadline_seconds, self.now(), is_ready, is_busy)

    def _deadline_of(self, slot: Slot) -> float | None:
        """The claim of the process that is in the slot now; a record of its predecessor says nothing about it."""
        if slot.number == MONITOR:
            readings = self._scoreboard.readings()
            return readings.deadline_seconds if readings.incarnation == slot.incarnation else None
        claim = self._claim_of(slot)
        if claim is None or claim.phase == Phase.BOOT:
            return None
        return min(claim.deadline_seconds, claim.progress_seconds + MAX_PROMISE_SECONDS)

    def _phase_of(self, slot: Slot) -> Phase | None:
        claim = self._claim_of(slot)
        return Phase(claim.phase) if claim else None

    def _claim_of(self, slot: Slot) -> WorkerRecord | None:
        claim = self._scoreboard.worker(slot.number) if slot.is_worker else None
        return claim if claim and claim.incarnation == slot.incarnation else None

    def _returned(self) -> Iterator[Fact]:
        if self._descriptors.channel_fd < 0:
            return
        messages = channel.receive(self._descriptors.channel_fd)
        if messages is None:
            self._descriptors.drop_channel()
        for message in messages or ():
            if isinstance(message, channel.LeaseReturnedReport):
                yield LeaseReturned(message.lease_key, message.outcome)

    def _exited(self, fleet: Fleet) -> Iterator[Fact]:
        """Strangers that came to us as a subreaper or as a container's first process are reaped without a word."""
        slots = {slot.pid: slot for slot in fleet.slots if slot.stage is not Stage.VACANT}
        for pid, status in process.reap(slots.keys()):
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
                jitter=random.random(),  # noqa: S311  jitter is no secret
            )
