"""The reason for which a job was started again, read from the transition that ended its lease."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from testkit.chaos.plan import Kind
from testkit.chaos.run_record import InjectedFault, JobTransition, RunRecord

OUTAGES = frozenset({Kind.RESTART_SERVER, Kind.CRASH_SERVER})  # a lease that ends in one can be neither renewed nor given back
RECONNECT_SECONDS = 6.0  # the longest wait of a worker before its next try, and the try
SLACK_SECONDS = 2.0  # from the recorded time to the signal, and from the death to its count


class RerunReason(StrEnum):
    """The first three are duplicate executions, because the first worker may still be running."""

    WORKER_DIED = "worker_died"
    INSTANCE_DIED = "instance_died"
    LEASE_EXPIRED = "lease_expired"
    MODEL_FAILED = "model_failed"
    GIVEN_BACK = "given_back"

    @property
    def is_duplicate(self) -> bool:
        return self in {RerunReason.WORKER_DIED, RerunReason.INSTANCE_DIED, RerunReason.LEASE_EXPIRED}


@dataclass(frozen=True, slots=True)
class Rerun:
    """`before` is the transition that began the lease, `ended` the one that ended it."""

    why: RerunReason
    before: JobTransition
    ended: JobTransition


def reruns(transitions: Iterable[JobTransition]) -> Iterator[Rerun]:
    """Yield a rerun for each lease of a job that ended before the job, in order."""
    lease: JobTransition | None = None
    for last, transition in pairwise(transitions):
        if last.is_lease:
            lease = last
        if lease is not None and transition.status is not None and (transition.is_lease or transition.lease_key is None):
            if why := _why(last, transition):
                yield Rerun(why, lease, transition)
            lease = None


def _why(last: JobTransition, transition: JobTransition) -> RerunReason | None:
    """Return None if the job failed permanently and no death was counted."""
    if transition.is_lease:
        return RerunReason.LEASE_EXPIRED
    if transition.crashes > last.crashes:
        return RerunReason.WORKER_DIED
    if transition.expiries > last.expiries:
        return RerunReason.INSTANCE_DIED
    if transition.status == "failed":
        return None
    return RerunReason.MODEL_FAILED if transition.retry_count > last.retry_count else RerunReason.GIVEN_BACK


def is_explained(rerun: Rerun, record: RunRecord) -> bool:
    """Return True if a fault hit the worker, or still lasted, while it held the job."""
    return any(_explains(fault, rerun) for fault in record.injected)


def _explains(fault: InjectedFault, rerun: Rerun) -> bool:
    lasts_until = max(fault.at, fault.until)
    was_in_time = rerun.before.at - SLACK_SECONDS <= lasts_until and fault.at <= rerun.ended.at + SLACK_SECONDS
    if fault.pids is None:
        was_at_the_end = lasts_until >= rerun.ended.at - RECONNECT_SECONDS
        return was_in_time and was_at_the_end and fault.kind in OUTAGES and rerun.why is RerunReason.LEASE_EXPIRED
    return was_in_time and rerun.before.pid in fault.pids
