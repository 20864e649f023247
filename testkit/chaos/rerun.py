"""Why a job was begun again: read from the move that had made that possible."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from testkit.chaos.evidence import Evidence, Hit, Move

SLACK_SECONDS = 2.0  # between the driver's look at the clock and the signal, and from the death to its count


class ActionReason(StrEnum):
    """The first three began what somebody might still have been at: duplicate executions."""

    WORKER_DIED = "worker_died"
    INSTANCE_DIED = "instance_died"
    LEASE_EXPIRED = "lease_expired"
    MODEL_FAILED = "model_failed"
    GIVEN_BACK = "given_back"

    @property
    def is_duplicate(self) -> bool:
        return self in {ActionReason.WORKER_DIED, ActionReason.INSTANCE_DIED, ActionReason.LEASE_EXPIRED}


@dataclass(frozen=True, slots=True)
class Rerun:
    """`before` is the lease that ended, `ended` the move with which it did."""

    why: ActionReason
    before: Move
    ended: Move


def reruns(moves: Iterable[Move]) -> Iterator[Rerun]:
    """Of one job, in order: one for each lease that ended without an end of the job."""
    lease: Move | None = None
    for last, move in pairwise(moves):
        if last.is_lease:
            lease = last
        if lease is not None and move.status is not None and (move.is_lease or move.lease_key is None):
            if why := _why(last, move):
                yield Rerun(why, lease, move)
            lease = None


def _why(last: Move, move: Move) -> ActionReason | None:
    """None where the job failed for good and nobody's death was counted."""
    if move.is_lease:
        return ActionReason.LEASE_EXPIRED
    if move.crashes > last.crashes:
        return ActionReason.WORKER_DIED
    if move.expiries > last.expiries:
        return ActionReason.INSTANCE_DIED
    if move.status == "failed":
        return None
    return ActionReason.MODEL_FAILED if move.retry_count > last.retry_count else ActionReason.GIVEN_BACK


def is_explained(rerun: Rerun, evidence: Evidence) -> bool:
    """Whether a fault that was played had hit the worker while it held the job."""
    return any(_hit_in_hand(hit, rerun) for hit in evidence.hits)


def _hit_in_hand(hit: Hit, rerun: Rerun) -> bool:
    was_in_time = rerun.before.at - SLACK_SECONDS <= hit.at <= rerun.ended.at + SLACK_SECONDS
    return was_in_time and hit.pids is not None and rerun.before.pid in hit.pids
