"""The cases of a run, and the lanes that play them one after another.

The quick form compresses time. The wait before a retry is a hundredth of its default, so an outage of a hundredth of the length
meets as many retries: 2 minutes are 1.2 s, and 20 minutes are 12 s. An outage of 3 s is played as 3 s. Limits of a call are two
seconds. Waits that no setting changes keep their length, such as five seconds between two connections. A lock ends leases
and not retries, and the shortest lease takes 12 s. A lock of 20 minutes is therefore one of 75 s, longer than the five leases
after which a job is quarantined.

The long form plays every length as it is, with the default settings.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

from testkit.outages.matrix import WAYS, Case, Length, Moment, Request, Target

QUICK_SECONDS: Final = {Length.SHORT: 3.0, Length.MEDIUM: 1.2, Length.LONG: 12.0}
LOCK_SECONDS: Final = {Length.SHORT: 3.0, Length.MEDIUM: 14.0, Length.LONG: 75.0}
QUICK_LANES, LONG_LANES = 28, 32
SHORT_WAITS: Final[Mapping[str, float]] = {
    "worker_backoff_seconds": 0.1,
    "ai_timeout_vision": 2,
    "ai_timeout_feedback": 2,
    "worker_lease_seconds": 5,
    "terminate_grace_seconds": 0.1,
    "admission_sample_seconds": 0.5,
}


class Site(Enum):
    """The settings of a lane's fleet. `overhead_seconds` is the time of a case beside its outage."""

    ROOT = "files below a local root", 5.0
    STORE = "files in the object store, and servers under names", 5.0
    TURNS = "a model server that holds one model at a time, so that models are unloaded and loaded", 18.0

    def __init__(self, _meaning: str, overhead_seconds: float) -> None:
        self.overhead_seconds = overhead_seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """`lanes` are played at the same time, each with a fleet of its own."""

    seed: int
    is_long: bool
    lanes: tuple[tuple[Site, tuple[Case, ...]], ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(case for _, cases in self.lanes for case in cases)

    def seconds(self, case: Case) -> float:
        """The length of its outage."""
        if self.is_long:
            return float(case.length.value)
        return (LOCK_SECONDS if case.is_lock else QUICK_SECONDS)[case.length]

    def load_seconds(self, case: Case) -> float:
        """The time that it takes in its lane."""
        return self.seconds(case) + site_of(case.request).overhead_seconds


def draw(seed: int, pattern: str = "", *, is_long: bool = False) -> Plan:
    """Draw the cases whose name matches, with `*` as in file names, or contains the pattern. Equal arguments give equal plans.

    Each way of each request is played in all three lengths, each at another moment. The seed turns the moments and the order.
    """
    cases = [case for case in every_case(seed) if _matches(case.name, pattern)]
    random.Random(seed).shuffle(cases)
    plan = Plan(seed, is_long, ())
    loads = {site: [plan.load_seconds(case) for case in cases if site_of(case.request) is site] for site in Site}
    total_seconds = sum(map(sum, loads.values())) or 1.0
    lanes: list[tuple[Site, tuple[Case, ...]]] = []
    for site in sorted(Site, key=lambda each: each.overhead_seconds, reverse=True):  # the slow ones start first
        here = [case for case in cases if site_of(case.request) is site]
        share = sum(loads[site]) / total_seconds
        count = min(max(1, round(share * (LONG_LANES if is_long else QUICK_LANES))), len(here))
        lanes += [(site, tuple(lane)) for lane in _dealt(here, count, plan)]
    return Plan(seed, is_long, tuple(lanes))


def every_case(seed: int) -> Iterator[Case]:
    moments = list(Moment)
    for number, (request, way) in enumerate((request, way) for request, ways in WAYS.items() for way in ways):
        for place, length in enumerate(Length):
            yield Case(request, way, length, moments[(seed + number + place) % len(moments)])


def site_of(request: Request) -> Site:
    if request is Request.UNLOAD:
        return Site.TURNS
    return Site.STORE if request.target in {Target.STORE, Target.NAMES} else Site.ROOT


def _matches(name: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(name, pattern) or (re.sub(r"[*?]", "", pattern) == pattern and pattern in name)


def _dealt(cases: list[Case], count: int, plan: Plan) -> list[list[Case]]:
    """Deal the cases to so many lanes of about equal length: the longest first, each to the shortest lane."""
    lanes: list[list[Case]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for case in sorted(cases, key=plan.load_seconds, reverse=True):
        shortest = loads.index(min(loads))
        lanes[shortest].append(case)
        loads[shortest] += plan.load_seconds(case)
    return lanes
