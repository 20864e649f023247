"""The longest time without progress, and the recovery time after each fault. Pure functions of the record."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from testkit.chaos.plan import Kind
from testkit.chaos.run_record import InjectedFault, JobTransition, RunRecord

NEEDS_RECOVERY = frozenset(Kind) - {Kind.MODEL_FAULT, Kind.RELOAD, Kind.RELOAD_WRONG, Kind.SCALE, Kind.RECYCLE}
"""Faults that interrupt jobs. The others are handled by a retry or are planned changes."""


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
