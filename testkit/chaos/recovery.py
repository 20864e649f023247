"""The longest time without progress, and the recovery time after each fault. Pure functions of the record."""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from itertools import pairwise
from uuid import UUID

from testkit.chaos.intervals import Interval, clock, intersection, union, without
from testkit.chaos.plan import Kind
from testkit.chaos.run_record import InjectedFault, JobTransition, RunRecord

NEEDS_RECOVERY = frozenset(Kind) - {Kind.MODEL_FAULT, Kind.RELOAD, Kind.RELOAD_WRONG, Kind.SCALE, Kind.RECYCLE}
"""Faults that interrupt jobs. The others are handled by a retry or are planned changes."""
HOLDS_ITS_HOSTS = frozenset(
    {
        Kind.FREEZE_HOST,
        Kind.SILENCE_HOST,
        Kind.HANG_NAMES,
        Kind.NO_NAMES,
        Kind.STALL_LINK,
        Kind.RESTART_SERVER,
        Kind.CRASH_SERVER,
        Kind.LOCK_TABLE,
        Kind.MODEL_SERVER_AWAY,
    }
)
"""Faults during which no worker of the host can make progress, whatever the product does."""


def longest_standstill(record: RunRecord) -> Interval:
    """Return the longest stretch without progress anywhere, in which work was possible and there was work.

    Progress is a lease, a committed page or text, the end of a job, a first token and the end of a successful call.
    Work is a job that is queued or leased and to which the database refuses no write. Seconds do not count while faults of
    HOLDS_ITS_HOSTS together hold every host: then progress is impossible. They end with the fault, so the time to recover counts.
    The second number is the end, the first is so many counted seconds before it.
    """
    worked_seconds = clock(without(workable(record), impossible(record)))
    marks = sorted({record.began_at, *progress(record), record.ended_at})
    return max(
        ((until - (worked_seconds(until) - worked_seconds(since)), until) for since, until in pairwise(marks)),
        key=lambda stretch: stretch[1] - stretch[0],
        default=(record.began_at, record.began_at),
    )


def progress(record: RunRecord, pids: Collection[int] | None = None) -> list[float]:
    """Return the times of progress, in order. With `pids` only that of these workers in the database."""
    found = [
        transition.at
        for transitions in record.transitions_of().values()
        for transition in _forward(transitions)
        if pids is None or transition.pid in pids
    ]
    return sorted(found if pids is not None else [*found, *record.model_progress])


def workable(record: RunRecord) -> list[Interval]:
    """Return the time in which at least one job was open and not refused by the database."""
    refused: dict[UUID, list[Interval]] = {}
    for each in record.refusals:
        refused.setdefault(each.submission_id, []).append((each.at, each.until or record.ended_at))
    opened = (
        part
        for submission_id, transitions in record.transitions_of().items()
        for part in without([_open(transitions, record)], union(refused.get(submission_id, [])))
    )
    return union(opened)


def impossible(record: RunRecord) -> list[Interval]:
    """Return the time in which faults held every host."""
    held = [
        union((fault.at, fault.until) for fault in record.injected if fault.kind in HOLDS_ITS_HOSTS and host in fault.hosts)
        for host in record.hosts
    ]
    return intersection(*held)


def _open(transitions: list[JobTransition], record: RunRecord) -> Interval:
    ended = next((transition.at for transition in transitions if _is_end(transition)), record.ended_at)
    return transitions[0].at, max(ended, transitions[0].at)


def longest_gap_seconds(record: RunRecord) -> float:
    """Return the longest time between two steps of progress while a submission was not final."""
    longest, open_jobs, since = 0.0, 0, record.began_at
    forward = {id(transition) for found in record.transitions_of().values() for transition in _forward(found)}
    for transition in record.transitions:
        if id(transition) in forward:
            longest, since = max(longest, transition.at - since), transition.at
        if transition.old_status is None:
            since = since if open_jobs else transition.at
            open_jobs += 1
        elif _is_end(transition):
            open_jobs -= 1
    return max(longest, record.ended_at - since) if open_jobs else longest


def recoveries(record: RunRecord) -> dict[Kind, list[float]]:
    """Return the seconds from each fault to the next progress of each job that its victims held."""
    found: dict[Kind, list[float]] = {}
    for transitions in record.transitions_of().values():
        steps = sorted(transition.at for transition in _forward(transitions))
        for fault in record.injected:
            if fault.kind in NEEDS_RECOVERY and _is_in_hand(fault, transitions):
                for at in steps[bisect_right(steps, fault.at) :][:1]:
                    found.setdefault(fault.kind, []).append(at - fault.at)
    return found


def percentile(seconds: list[float], share: float) -> float | None:
    """Return a percentile, None without values."""
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] if seconds else None


def _forward(transitions: list[JobTransition]) -> Iterator[JobTransition]:
    """Yield the transitions that are progress: a lease, a page, the text, the end."""
    for last, transition in pairwise(transitions):
        if transition.is_lease or transition.pages > last.pages or transition.has_text > last.has_text or _is_end(transition):
            yield transition


def _is_end(transition: JobTransition) -> bool:
    return transition.status in {None, "failed"}


def _is_in_hand(fault: InjectedFault, transitions: list[JobTransition]) -> bool:
    """Return True if a victim held the job at the time of the fault."""
    before = [transition for transition in transitions if transition.at <= fault.at]
    if not before or before[-1].lease_key is None:
        return False
    lease = next(transition for transition in reversed(before) if transition.is_lease)
    return fault.pids is None or lease.pid in fault.pids
