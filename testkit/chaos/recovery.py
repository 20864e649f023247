"""How long nothing went on although there was work, and how long each fault was felt: pure functions of what was seen."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from testkit.chaos.plan import Kind
from testkit.chaos.run_record import InjectedFault, JobTransition, RunRecord

TAKES_AWAY = frozenset(Kind) - {Kind.MODEL_FAULT, Kind.RELOAD, Kind.RELOAD_WRONG, Kind.SCALE, Kind.RECYCLE}
"""Faults that somebody has to recover from; the others are met by a plan or by a wait that is meant."""


def longest_gap_seconds(record: RunRecord) -> float:
    """Between two steps forward of anybody, while at least one submission was not at its end."""
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
    """For each job in the hands of a fault's victims: seconds from the fault to the job's next step forward, of whomever."""
    found: dict[Kind, list[float]] = {}
    for transitions in record.transitions_of().values():
        steps = sorted(transition.at for transition in _forward(transitions))
        for hit in record.injected:
            if hit.kind in TAKES_AWAY and _is_in_hand(hit, transitions):
                for at in steps[bisect_right(steps, hit.at) :][:1]:
                    found.setdefault(hit.kind, []).append(at - hit.at)
    return found


def percentile(seconds: list[float], share: float) -> float | None:
    """Of the sorted values the one at this share of them; None where there is none."""
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] if seconds else None


def _forward(transitions: list[JobTransition]) -> Iterator[JobTransition]:
    """A lease, a page, the text, the end: what brings a submission further."""
    for last, transition in pairwise(transitions):
        if transition.is_lease or transition.pages > last.pages or transition.has_text > last.has_text or _is_end(transition):
            yield transition


def _is_end(transition: JobTransition) -> bool:
    return transition.status in {None, "failed"}


def _is_in_hand(hit: InjectedFault, transitions: list[JobTransition]) -> bool:
    """Whether a victim held the job when it was hit."""
    before = [transition for transition in transitions if transition.at <= hit.at]
    if not before or before[-1].lease_key is None:
        return False
    lease = next(transition for transition in reversed(before) if transition.is_lease)
    return hit.pids is None or lease.pid in hit.pids
