"""The queue as a state machine for hypothesis.

Hypothesis runs every statement of a worker and of the monitor in any order. `Job` is a model of the contract, and all rows are
compared with it after each step. Holders of leases are never removed, so a late step is that of a frozen process.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, LiteralString
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule
from psycopg.rows import DictRow

from testkit.filled_queue import CLEAR, FilledQueue
from testkit.monitor import Monitor
from worker.core.evidence import HeldFailure
from worker.core.faults import Suspicion
from worker.core.outcome import (
    MAX_EXPIRIES,
    AlreadyFinal,
    Completed,
    Failed,
    Lease,
    Released,
    Retried,
    Settled,
    parse_payload,
    quarantine,
)
from worker.ipc.contract import ErrorCode, Step
from worker.queue import dead_leases
from worker.queue.abilities import ABILITIES_OF_2025, ability_values
from worker.queue.attempts import fail_unleased
from worker.queue.checkpoints import OcrPage, OcrResult, write_checkpoint, write_page
from worker.queue.leases import LeaseOwner, find_lease
from worker.queue.permits import NO_PERMITS, begin_step
from worker.queue.settle import mark_refused, park, settle
from worker.queue.statements import statement

MAX_CRASHES = 2
HOUR_SECONDS = 3600.0
REASON = "database_P0001"
RESULT = OcrResult("what was read", {}, "what it was made from")
FAILED = Failed(ErrorCode.VISION_FAILED, "vision_failed")
COMPLETED = Completed("what was read", "well done", {})
HELD_FAILURE = HeldFailure(Suspicion.DIED, "SomeError", Step.VISION, instance=1, answered=0, in_flight=0, died=0, probes=0)
DELAYS = (
    Retried(Step.FEEDBACK, "SomeError", 0),
    Retried(Step.VISION, "SomeError", HOUR_SECONDS),
    Released("drain"),
    Released("held", 0, "SomeError"),
    Released("held", HOUR_SECONDS, "SomeError", HELD_FAILURE),
)
JOBS: LiteralString = """
    select id, status, lease_key, leased_until <= clock_timestamp() as is_expired, visible_at <= now() as is_visible, retry_count,
        coalesce((payload ->> 'crashes')::int, (payload #>> '{quarantined,crashes}')::int, 0) as crashes,
        coalesce((payload ->> 'expiries')::int, (payload #>> '{quarantined,expiries}')::int, 0) as expiries,
        coalesce(jsonb_array_length(payload -> 'cached_pages'), 0) as pages, payload ? 'cached_text_md' as has_text,
        payload ? 'suspect' as is_suspect
    from learning_submission_jobs
"""
SUBMISSIONS: LiteralString = """
    select id, analysis_status as status, (select count(*) from audit_results where submission_id = s.id)::int as results,
        exists (select from learning_submission_jobs where submission_id = s.id and status <> 'failed') as has_open_job
    from learning_submissions s
"""


class FenceBroken(AssertionError):
    """A write happened that the contract forbids."""


class DoubleResult(FenceBroken):
    """A submission has two results."""


class StaleWrite(FenceBroken):
    """A holder without the lease changed something, or the holder of the lease could not."""


class JobLost(AssertionError):
    """A submission is not final and has no job that would make it so."""


class Status(Enum):
    """Status of a job. The row of a FINISHED job is deleted."""

    QUEUED = "queued"
    LEASED = "leased"
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Job:
    """Expected state of a job by the contract. `result` is that of its submission."""

    id: UUID
    submission_id: UUID
    status: Status = Status.QUEUED
    lease_key: UUID | None = None
    is_expired: bool = False
    is_visible: bool = True
    retry_count: int = 0
    crashes: int = 0
    expiries: int = 0
    pages: int = 0
    has_text: bool = False
    is_suspect: bool = False
    result: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the job as a row of JOBS."""
        left_out = {"submission_id": ..., "result": ...}
        shown = {name: getattr(self, name) for name in self.__slots__ if name not in left_out}
        is_expired = self.is_expired if self.status is Status.LEASED else None
        return {**shown, "status": self.status.value, "is_expired": is_expired}

    def freed(self, **changes: Any) -> "Job":
        return replace(self, lease_key=None, is_expired=False, **changes)

    def ended(self, status: Status, result: str) -> "Job":
        """End the job. The first result of a submission stays."""
        return self.freed(status=status, result=self.result or result)


class QueueMachine(RuleBasedStateMachine):
    """Workers of the product and the monitor.

    The functions' guard is open, so that only the fences prevent a second result.
    """

    holders = Bundle("holders")
    max_jobs = 3

    def __init__(self, queue: FilledQueue, monitor: Monitor) -> None:
        super().__init__()
        self.queue, self.monitor = queue, monitor
        self.jobs: dict[UUID, Job] = {}
        self.surprise = ""
        queue.owner.execute(CLEAR)
        self.enter_job("file", 0)

    # Events from outside

    @precondition(lambda self: len(self.jobs) < self.max_jobs)
    @rule(kind=st.sampled_from(["text", "file"]), expiries=st.sampled_from([0, 0, MAX_EXPIRIES - 2]))
    def enter(self, kind: str, expiries: int) -> None:
        self.enter_job(kind, expiries)

    def enter_job(self, kind: str, expiries: int) -> None:
        entered = self.queue.enter(kind=kind, payload={"expiries": expiries})
        self.jobs[entered.job_id] = Job(entered.job_id, entered.submission_id, expiries=expiries)

    @precondition(lambda self: self.of_status(Status.LEASED))
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        """An administrator ends a lease, since the database's clock cannot be moved."""
        job = data.draw(st.sampled_from(self.of_status(Status.LEASED)))
        self.change("leased_until = clock_timestamp() - interval '1 second'", job)
        self.jobs[job.id] = replace(job, is_expired=True)

    @precondition(lambda self: any(not job.is_visible for job in self.jobs.values()))
    @rule()
    def hasten(self) -> None:
        """All delays end."""
        self.queue.owner.execute("update learning_submission_jobs set visible_at = now() where visible_at > now()")
        self.jobs = {key: replace(job, is_visible=True) for key, job in self.jobs.items()}

    # A worker with or without its lease

    @precondition(lambda self: not self.leasable())
    @rule()
    def lease_nothing(self) -> None:
        self.expect("a lease", is_right=self.execute_lease(uuid4()) is None)

    @precondition(lambda self: self.leasable())
    @rule(target=holders)
    def lease(self) -> Any:
        key = LeaseOwner(1, 1).new_key()
        row = self.execute_lease(key)
        self.expect("a lease", is_right=row is not None and row["id"] in self.leasable())
        if row is None:
            return multiple()
        job = self.jobs[row["id"]]
        self.jobs[job.id] = replace(
            job, status=Status.LEASED, lease_key=key, is_expired=False, expiries=job.expiries + job.is_expired
        )
        lease = Lease(job.id, job.submission_id, key, row["payload"], row["retry_count"])
        self.check_payload(lease)
        return lease

    def execute_lease(self, key: UUID) -> DictRow | None:
        values: dict[str, object] = {"lease_key": key, "lease_seconds": HOUR_SECONDS, "position": None, "sibling_keys": []}
        values |= ability_values(ABILITIES_OF_2025)
        return self.queue.worker.execute(statement("lease"), values).fetchone()

    def check_payload(self, lease: Lease) -> None:
        """Check, as a worker does first, whether the job has ended too many workers."""
        payload = parse_payload(lease)
        assert not isinstance(payload, Failed)
        if poisoned := quarantine(payload, MAX_CRASHES):
            self.settle_with(lease, poisoned)

    @rule(lease=holders)
    def renew(self, lease: Lease) -> None:
        def write() -> bool:
            return begin_step(self.queue.worker, lease, HOUR_SECONDS, NO_PERMITS).is_ours

        self.write(lease, write, lambda job: replace(job, is_expired=False))

    @rule(lease=holders)
    def find(self, lease: Lease) -> None:
        """After a lost acknowledgement the holder of the lease finds it, and no other holder does."""
        self.expect("find", is_right=(find_lease(self.queue.worker, lease.lease_key) is not None) == self.is_held(lease))

    @rule(lease=holders)
    def keep_page(self, lease: Lease) -> None:
        page = self.jobs[lease.job_id].pages + 1
        reading = OcrPage(page, "page", "what it was made from")
        self.write(
            lease,
            lambda: write_page(self.queue.worker, lease, reading, HOUR_SECONDS),
            lambda job: replace(job, is_expired=False, pages=page, retry_count=0, is_suspect=False),
        )

    @rule(lease=holders)
    def checkpoint(self, lease: Lease) -> None:
        self.write(
            lease,
            lambda: write_checkpoint(self.queue.worker, lease, RESULT, HOUR_SECONDS),
            lambda job: replace(job, is_expired=False, pages=0, has_text=True, retry_count=0, is_suspect=False),
        )

    @rule(lease=holders)
    def complete(self, lease: Lease) -> None:
        self.settle_with(lease, COMPLETED)

    @rule(lease=holders)
    def fail(self, lease: Lease) -> None:
        self.settle_with(lease, FAILED)

    @rule(lease=holders, outcome=st.sampled_from(DELAYS))
    def put_off(self, lease: Lease, outcome: Settled) -> None:
        """A retry or a release, at once or with a delay."""
        self.settle_with(lease, outcome)

    def settle_with(self, lease: Lease, outcome: Settled) -> None:
        self.write(lease, lambda: settle(self.queue.worker, lease, outcome), lambda job: settled(job, outcome))

    @rule(lease=holders)
    def put_aside(self, lease: Lease) -> None:
        """The database refuses the end of the job, which waits for its next try."""
        self.write(
            lease,
            lambda: park(self.queue.worker, lease, REASON),
            lambda job: job.freed(status=Status.QUEUED, retry_count=job.retry_count + 1, is_visible=False),
        )

    @rule(lease=holders)
    def note_refusal(self, lease: Lease) -> None:
        """The database does not even let the job be put aside. It stays leased."""
        self.write(lease, lambda: mark_refused(self.queue.worker, lease, REASON), lambda job: job)

    @rule(data=st.data())
    def fail_refused(self, data: st.DataObject) -> None:
        """A job that cannot be leased fails without a lease, and only if no other worker has one."""
        job = data.draw(st.sampled_from(list(self.jobs.values())))
        may_fail = job.is_visible if job.status is Status.QUEUED else job.is_expired
        before = None if may_fail else self.queue.everything()
        is_failed = fail_unleased(self.queue.worker, job.id, REASON)
        self.expect("a failure", is_right=is_failed == may_fail and before in (None, self.queue.everything()))
        if is_failed:
            self.jobs[job.id] = job.ended(Status.FAILED, "failed")

    @rule(lease=holders)
    def delete_final(self, lease: Lease) -> None:
        """A worker, perhaps one that was frozen since, deletes the job of a final submission."""
        if self.jobs[lease.job_id].result:
            self.settle_with(lease, AlreadyFinal())

    # The monitor

    @rule(lease=holders, knows_job=st.booleans())
    def crash(self, lease: Lease, knows_job: bool) -> None:
        """The holder of the lease dies, and the monitor reclaims the lease that is on the scoreboard."""
        self.reclaimed(
            lease,
            lambda: self.monitor.reclaim_lease(lease.job_id if knows_job else None, lease.lease_key, MAX_CRASHES),
            crashed,
        )

    @rule(lease=holders)
    def lose_instance(self, lease: Lease) -> None:
        """The supervisor dies too, and the next one reclaims the lease, counted as an expiry."""
        self.reclaimed(
            lease,
            lambda: self.monitor.reclaim_orphaned_lease(lease.job_id, lease.lease_key),
            lost_its_instance,
        )

    def reclaimed(self, lease: Lease, act: Callable[[], dead_leases.ReclaimResult], change: Callable[[Job], Job]) -> None:
        self.write(lease, lambda: act() is not dead_leases.ReclaimResult.NOT_FOUND, change)

    # Invariants

    @invariant()
    def all_holds(self) -> None:
        """Check double results first, since they are the worst fault."""
        submissions = self.queue.owner.execute(SUBMISSIONS).fetchall()
        if twice := [row for row in submissions if row["results"] > 1]:
            raise DoubleResult(f"{len(twice)} submissions")
        self.judge(submissions)

    def judge(self, submissions: list[DictRow]) -> None:
        """Check the writers, lost jobs, and each column of the contract."""
        if self.surprise:
            raise StaleWrite(self.surprise)
        open_ones = [row for row in submissions if row["status"] not in {"completed", "failed"}]
        if lost := [row for row in open_ones if not row["has_open_job"]]:
            raise JobLost(f"{len(lost)} submissions")
        rows = {row["id"]: row for row in self.queue.owner.execute(JOBS)}
        assert rows == {job.id: job.row() for job in self.jobs.values() if job.status is not Status.FINISHED}
        results = {row["id"]: row["status"] for row in submissions}
        assert results == {job.submission_id: job.result or "pending" for job in self.jobs.values()}

    # Helpers

    def write(self, lease: Lease, write: Callable[[], bool], change: Callable[[Job], Job]) -> None:
        """A write by the holder has the contract's effect. By any other holder it is rejected and changes nothing."""
        is_held = self.is_held(lease)
        before = None if is_held else self.queue.everything()
        is_written = write()
        self.expect("a write", is_right=is_written == is_held and before in (None, self.queue.everything()))
        if is_written:
            self.jobs[lease.job_id] = change(self.jobs[lease.job_id])

    def expect(self, what: str, *, is_right: bool) -> None:
        """Remember the first surprise. It is raised after the results are checked, because two results are worse."""
        self.surprise = self.surprise or ("" if is_right else what)

    def is_held(self, lease: Lease) -> bool:
        return self.jobs[lease.job_id].lease_key == lease.lease_key

    def of_status(self, status: Status) -> list[Job]:
        return [job for job in self.jobs.values() if job.status is status]

    def leasable(self) -> set[UUID]:
        """Expired leases come first."""
        expired = {job.id for job in self.of_status(Status.LEASED) if job.is_expired}
        return expired or {job.id for job in self.of_status(Status.QUEUED) if job.is_visible}

    def change(self, change: LiteralString, job: Job) -> None:
        self.queue.owner.execute("update learning_submission_jobs set " + change + " where id = %s", [job.id])


class MixedMachine(QueueMachine):
    """The platform's own worker beside those of the product.

    It keys its lease but names the key in no later write, so only the functions' guard prevents a second result. `guests` are its
    leases.
    """

    guests = Bundle("guests")

    @precondition(lambda self: self.leasable())
    @rule(target=guests)
    def lease_by_platform(self) -> Any:
        row = self.queue.worker.execute(LEASE_BY_PLATFORM, {"lease_key": (key := uuid4())}).fetchone()
        assert row is not None
        job = self.jobs[row["id"]]
        self.jobs[job.id] = replace(job, status=Status.LEASED, lease_key=key, is_expired=False)
        return job.id

    @rule(job_id=guests, dies_between=st.booleans())
    def complete_by_platform(self, job_id: UUID, dies_between: bool) -> None:
        job = self.jobs[job_id]
        self.queue.worker.execute(
            "select learning_worker_update_completed(%s, 'text', 'feedback', '{}'::jsonb)", [job.submission_id]
        )
        self.jobs[job_id] = replace(job, result=job.result or "completed")
        if not dies_between:
            self.queue.worker.execute("delete from learning_submission_jobs where id = %s", [job_id])
            self.jobs[job_id] = job.ended(Status.FINISHED, "completed")

    @rule(job_id=guests)
    def fail_by_platform(self, job_id: UUID) -> None:
        job = self.jobs[job_id]
        self.queue.worker.execute("select learning_worker_update_failed(%s, 'vision_failed', 'SomeError')", [job.submission_id])
        self.queue.worker.execute(FREE_BY_PLATFORM, ["failed", 0, job_id])
        after = job.ended(Status.FAILED, "failed")
        self.jobs[job_id] = after if job.status is not Status.FINISHED else replace(job, result=after.result)

    @rule(job_id=guests)
    def retry_by_platform(self, job_id: UUID) -> None:
        job = self.jobs[job_id]
        self.queue.worker.execute("select learning_worker_mark_retry(%s, 'vision', 'SomeError', now())", [job.submission_id])
        self.queue.worker.execute(FREE_BY_PLATFORM, ["queued", 1, job_id])
        if job.status is not Status.FINISHED:
            self.jobs[job_id] = job.freed(status=Status.QUEUED, retry_count=job.retry_count + 1)


LEASE_BY_PLATFORM: LiteralString = """
    update learning_submission_jobs set status = 'leased', lease_key = %(lease_key)s, leased_until = now() + interval '1 hour'
    where id = (
        select id from learning_submission_jobs
        where status = 'queued' and visible_at <= now() or status = 'leased' and leased_until <= now()
        order by visible_at limit 1 for update skip locked)
    returning id
"""
FREE_BY_PLATFORM: LiteralString = """
    update learning_submission_jobs set status = %s, retry_count = retry_count + %s, lease_key = null, leased_until = null
    where id = %s
"""


def settled(job: Job, outcome: Settled) -> Job:
    """Return the job after an outcome, by the contract."""
    match outcome:
        case Completed():
            return job.ended(Status.FINISHED, "completed")
        case Failed():
            return job.ended(Status.FAILED, "failed")
        case Retried(_, _, delay_seconds):
            retry_count = job.retry_count + 1
            return job.freed(status=Status.QUEUED, retry_count=retry_count, is_visible=not delay_seconds, is_suspect=False)
        case Released(_, delay_seconds, _, held_failure):
            is_suspect = job.is_suspect or held_failure is not None
            return job.freed(status=Status.QUEUED, is_visible=not delay_seconds, is_suspect=is_suspect)
        case AlreadyFinal():
            return job.freed(status=Status.FINISHED)


def crashed(job: Job) -> Job:
    return died(replace(job, crashes=job.crashes + 1), is_over=job.crashes + 1 >= MAX_CRASHES)


def lost_its_instance(job: Job) -> Job:
    return died(replace(job, expiries=job.expiries + 1), is_over=job.expiries + 1 >= MAX_EXPIRIES)


def died(job: Job, *, is_over: bool) -> Job:
    return job.ended(Status.FAILED, "failed") if is_over else job.freed(status=Status.QUEUED)
