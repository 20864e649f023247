"""A simulated worker: it boots, leases, reads, writes and settles, and leaves on request when it has no job in hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from testkit.simulation.job_queue import Job
from testkit.simulation.plan import Trait
from testkit.simulation.process import BAD_CONFIGURATION, BASE_BYTES, BUG, MEBIBYTE, SIGSEGV, Activity, Process
from testkit.simulation.violation import Violation

if TYPE_CHECKING:
    from testkit.simulation.world import World

LEAK_BYTES, SPIKE_BYTES, HOG_BYTES = 300 * MEBIBYTE, 700 * MEBIBYTE, 2048 * MEBIBYTE
STATEMENT_SECONDS, STATEMENT_DEADLINE_SECONDS = 0.003, 10.0
LATE_ANSWER_SECONDS = 0.5
PERMIT_WAIT_SECONDS = 1.0
LEASE_SECONDS, LEASE_MARGIN_SECONDS = 45.0, 15.0
IDLE_DEADLINE_SECONDS, IDLE_RENEWAL_SECONDS = 60.0, 20.0


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a model, with its limit, which is also its deadline."""

    name: str
    limit_seconds: float


VISION, FEEDBACK = Step("vision", 30.0), Step("feedback", 15.0)


class Worker(Process):
    """The worker's process. Its scoreboard record has both keys: of the job in hand, and of a lease that it is requesting."""

    def __init__(self, world: World, pid: int, slot: int, incarnation: int, generation: int) -> None:
        super().__init__(world, pid, slot, incarnation, generation)
        self.job: Job | None = None
        self.key: UUID | None = None
        self.next_key: UUID | None = None
        self.permit_since: float | None = None

    @property
    def is_leaving(self) -> bool:
        return self.is_terminated or self.world.control.is_retiring(self.slot)

    @property
    def is_busy(self) -> bool:
        return self.activity in {Activity.WORK, Activity.PERMIT, Activity.CALL}

    @property
    def is_in_call(self) -> bool:
        return self.activity is Activity.CALL

    # The boot

    def boot(self) -> None:
        self.later(self.world.boot_seconds(self.slot), self._booted)

    def _booted(self) -> None:
        if self.world.boot_fails(self.slot):
            self.end(1)
        elif self.is_leaving:
            self.end(0)
        else:
            self._connect(self._connected)

    def _connected(self) -> None:
        if self.world.is_bad(self.generation):
            self.end(BAD_CONFIGURATION)
        else:
            self._idle()

    def _connect(self, then: Callable[[], None]) -> None:
        """Connect as soon as the database is up. Each attempt renews the deadline."""
        self.enter(Activity.CONNECT, IDLE_DEADLINE_SECONDS, IDLE_RENEWAL_SECONDS)
        self.world.when_connected(self, then)

    def noticed(self) -> None:
        if self.is_leaving and self.job is None and self.next_key is None and self.activity in {Activity.IDLE, Activity.CONNECT}:
            self.end(0)

    # Between jobs

    def _idle(self) -> None:
        self.job = self.key = self.next_key = self.permit_since = None
        if self.is_leaving:
            self.end(0)
            return
        self.enter(Activity.IDLE, IDLE_DEADLINE_SECONDS, IDLE_RENEWAL_SECONDS)
        self.world.poll_queue()

    def can_lease(self) -> bool:
        return self._may_lease() and self.activity is Activity.IDLE and self.is_healthy

    def _may_lease(self) -> bool:
        control = self.world.control
        return self.slot < control.leasing_slots and not control.is_draining and not self.is_leaving

    def lease(self) -> None:
        """Send the lease statement, which commits even if the worker dies meanwhile."""
        key = self.next_key = self.world.new_key(self)
        self.enter(Activity.LEASE, STATEMENT_DEADLINE_SECONDS)
        world = self.world
        world.clock.at(world.clock.now + STATEMENT_SECONDS, lambda: self._committed(key))

    def _committed(self, key: UUID) -> None:
        job = self._granted(key) if self.world.is_database_up else None
        self._go_on(lambda: self._leased(job))

    def _granted(self, key: UUID) -> Job | None:
        world = self.world
        job = world.queue.lease(key, world.clock.now, LEASE_SECONDS)
        if job is not None:
            world.clock.at(job.leased_until, world.poll_queue)
        return job

    def _leased(self, job: Job | None) -> None:
        self.job, self.key, self.next_key = job, self.next_key, None
        if job is None:
            self._idle()
        elif job.has_text:
            self._step(job, FEEDBACK)
        else:
            self._step(job, VISION)

    # A job

    def _step(self, job: Job, step: Step) -> None:
        """Begin the step if the time left before a requested end covers it. Otherwise release the job."""
        if self._is_too_late(step):
            self._write(self._release)
        else:
            self._write(lambda: self._begin(job, step))

    def _is_too_late(self, step: Step) -> bool:
        control, now = self.world.control, self.world.clock.now
        if control.is_draining:
            return now + step.limit_seconds > control.drain_by_seconds
        return self.is_terminated  # the grace period is shorter than any step

    def _begin(self, job: Job, step: Step) -> None:
        world, key = self.world, self.key
        assert key is not None
        until = world.clock.now + max(LEASE_SECONDS, step.limit_seconds + LEASE_MARGIN_SECONDS)
        if not world.queue.renew(job, key, until):
            self._idle()  # the lease was taken over, so the result is dropped
            return
        world.clock.at(until, world.poll_queue)
        if step is VISION and job.has_text:
            raise Violation("6: no vision call after a checkpoint", f"job {job.id.int}")
        if self.world.is_permit_lost:
            self._wait_for_permit(job, step)
            return
        self.permit_since = None
        self.enter(Activity.CALL, step.limit_seconds)
        self._suffer(job, step)
        self.later(world.random.uniform(0.05, 0.6) * step.limit_seconds, lambda: self._end_of(job, step))

    def _wait_for_permit(self, job: Job, step: Step) -> None:
        """Try again each second, and renew the lease with each try."""
        if self.activity is not Activity.PERMIT:
            self.permit_since = self.world.clock.now
        self.enter(Activity.PERMIT, STATEMENT_DEADLINE_SECONDS)
        self.later(PERMIT_WAIT_SECONDS, lambda: self._try_again(job, step))

    def _try_again(self, job: Job, step: Step) -> None:
        if self._is_too_late(step) or not self.world.is_database_up:
            self.permit_since = None
            self._step(job, step)
        else:
            self._begin(job, step)

    def _suffer(self, job: Job, step: Step) -> None:
        """Apply the effect of the job on its worker, at some time in the step."""
        if step is not FEEDBACK:
            return
        seconds = self.world.random.uniform(0.0, 0.5)
        match job.trait:
            case Trait.SEGFAULT:
                self.later(seconds, lambda: self.end(SIGSEGV))
            case Trait.ONCE if job.attempts == 1:
                self.later(seconds, lambda: self.end(BUG))
            case Trait.HANG:
                self.later(seconds, self.hang)
            case Trait.HOG:
                self.later(seconds, lambda: self.hold(HOG_BYTES))
                self.later(seconds + 0.01, self.hang)
            case Trait.LEAK:
                self.later(seconds, lambda: self.hold(self.rss_bytes + LEAK_BYTES))
            case Trait.SPIKE if self.rss_bytes == BASE_BYTES:
                self.later(0.0, lambda: self.hold(BASE_BYTES + SPIKE_BYTES))
            case _:
                pass

    def _end_of(self, job: Job, step: Step) -> None:
        if job.trait is Trait.SPIKE and self.rss_bytes == BASE_BYTES + SPIKE_BYTES:
            self.hold(BASE_BYTES)
        if step is VISION:
            self._write(lambda: self._checkpoint(job))
        else:
            self._settle(job, self.world.new_key(self) if self._may_lease() else None)

    def _checkpoint(self, job: Job) -> None:
        assert self.key is not None
        if self.world.queue.checkpoint(job, self.key):
            self._step(job, FEEDBACK)
        else:
            self._idle()

    def _settle(self, job: Job, next_key: UUID | None) -> None:
        """End the job and lease the next in one transaction, which commits even if the worker dies meanwhile."""
        world, self.next_key = self.world, next_key
        if world.is_database_up:
            self.enter(Activity.WORK, STATEMENT_DEADLINE_SECONDS)
            world.clock.at(world.clock.now + STATEMENT_SECONDS, lambda: self._settled(job, next_key))
        else:
            self._connect(lambda: self._settle(job, None))

    def _settled(self, job: Job, next_key: UUID | None) -> None:
        """Commit. The worker may die between the commit and the update of its record, above all if the reply is late."""
        assert self.key is not None
        if not self.world.is_database_up:
            self._go_on(lambda: self._settle(job, None))
            return
        self.world.queue.complete(job, self.key)
        next_job = self._granted(next_key) if next_key else None
        self.later(self.world.random.choice((STATEMENT_SECONDS, LATE_ANSWER_SECONDS)), lambda: self._leased(next_job))

    def _release(self) -> None:
        assert self.key is not None
        self.world.queue.release(self.key)
        self._idle()

    def _write(self, statement: Callable[[], None]) -> None:
        """Run a statement as soon as the database is up."""
        if self.world.is_database_up:
            self.enter(Activity.WORK, STATEMENT_DEADLINE_SECONDS)
            self.later(STATEMENT_SECONDS, statement)
        else:
            self._connect(statement)
