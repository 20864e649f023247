"""How long nothing went on although there was work, and how long each fault was felt: pure functions of what was seen."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from testkit.chaos.evidence import Evidence, Hit, Move
from testkit.chaos.plan import Kind

TAKES_AWAY = frozenset(Kind) - {Kind.MODEL_FAULT, Kind.RELOAD, Kind.RELOAD_WRONG, Kind.SCALE, Kind.RECYCLE}
"""Faults that somebody has to recover from; the others are met by a plan or by a wait that is meant."""


def longest_gap_seconds(evidence: Evidence) -> float:
    """Between two steps forward of anybody, while at least one submission was not at its end."""
    longest, open_jobs, since = 0.0, 0, evidence.began_at
    forward = {id(move) for found in evidence.moves_of().values() for move in _forward(found)}
    for move in evidence.moves:
        if id(move) in forward:
            longest, since = max(longest, move.at - since), move.at
        if move.old_status is None:
            since = since if open_jobs else move.at
            open_jobs += 1
        elif _is_end(move):
            open_jobs -= 1
    return max(longest, evidence.ended_at - since) if open_jobs else longest


def recoveries(evidence: Evidence) -> dict[Kind, list[float]]:
    """For each job in the hands of a fault's victims: seconds from the fault to the job's next step forward, of whomever."""
    found: dict[Kind, list[float]] = {}
    for moves in evidence.moves_of().values():
        steps = sorted(move.at for move in _forward(moves))
        for hit in evidence.hits:
            if hit.kind in TAKES_AWAY and _is_in_hand(hit, moves):
                for at in steps[bisect_right(steps, hit.at) :][:1]:
                    found.setdefault(hit.kind, []).append(at - hit.at)
    return found


def percentile(seconds: list[float], share: float) -> float | None:
    """Of the sorted values the one at this share of them; None where there is none."""
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] if seconds else None


def _forward(moves: list[Move]) -> Iterator[Move]:
    """A lease, a page, the text, the end: what brings a submission further."""
    for last, move in pairwise(moves):
        if move.is_lease or move.pages > last.pages or move.has_text > last.has_text or _is_end(move):
            yield move


def _is_end(move: Move) -> bool:
    return move.status in {None, "failed"}


def _is_in_hand(hit: Hit, moves: list[Move]) -> bool:
    """Whether a victim held the job when it was hit."""
    before = [move for move in moves if move.at <= hit.at]
    if not before or before[-1].lease_key is None:
        return False
    lease = next(move for move in reversed(before) if move.is_lease)
    return hit.pids is None or lease.pid in hit.pids
