"""The plan of one simulated run: jobs and faults, drawn from a seed."""

from dataclasses import dataclass
from enum import Enum
from random import Random

MINUTE = 60.0


class Kind(Enum):
    """Kind of a fault or of a request."""

    KILL = "a worker gets SIGKILL from outside"
    KILL_ALL = "all workers die in the same moment"
    SEGFAULT = "a worker gets SIGSEGV"
    BUG = "a worker leaves with exit code 70"
    LEAVE = "a worker leaves with 0 without a request"
    OOM = "the kernel's OOM killer kills a worker"
    HANG = "a worker hangs"
    FREEZE = "a worker gets SIGSTOP, later SIGCONT"
    LEAK = "a worker does not give memory back"
    HOG = "a worker allocates without end"
    SLOW_BOOTS = "boots of a slot take very long"
    BAD_BOOTS = "boots of a slot fail"
    NO_BOOTS = "all boots fail"
    NO_FORKS = "forks fail"
    MONITOR_DIES = "the monitor gets SIGKILL"
    MONITOR_HANGS = "the monitor hangs"
    OUTAGE = "the database cannot be reached"
    STOP = "requests to stop"
    STOP_ALONE = "a request to stop as the monitor hangs and all workers die"
    SCALE = "an operator changes the number of workers"
    RECYCLE = "an operator requests new processes"
    RELOAD = "the settings are read again"
    RELOAD_WRONG = "the settings are read again and are wrong"
    RELOAD_REFUSED = "the settings are read again, and a worker cannot work with them"
    SUPERVISOR_DIES = "the supervisor gets SIGKILL"
    PERMIT_LOST = "a worker's session holds the permits without its knowledge"


class Trait(Enum):
    """Effect of a job on its worker, at each attempt but for the last three."""

    SEGFAULT = "it crashes its worker"
    HOG = "it needs more memory than there is"
    HANG = "its model never answers"
    LEAK = "it leaves memory behind"
    SPIKE = "it needs much memory for a moment"
    ONCE = "it crashes its worker the first time"
    PLAIN = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `number` is a slot, a count or a choice, and `seconds` is the duration."""

    at_seconds: float
    kind: Kind
    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PlannedJob:
    at_seconds: float
    trait: Trait


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs and faults of one run. No fault comes after `ends_at_seconds`, so that all jobs must end."""

    seed: int
    workers: int
    ends_at_seconds: float
    jobs: tuple[PlannedJob, ...]
    faults: tuple[Fault, ...]


_COMMON = (Kind.KILL, Kind.SEGFAULT, Kind.BUG, Kind.OOM, Kind.HANG, Kind.FREEZE, Kind.LEAK, Kind.RECYCLE, Kind.SCALE)
_TRAITS = (*[Trait.PLAIN] * 12, *Trait)
_DURATIONS = (0.5, 3.0, 10.0, 40.0, 90.0, 150.0)


def draw(seed: int, minutes: float) -> Plan:
    """Draw a plan. The same seed gives the same plan, and the density of faults differs between seeds."""
    random = Random(seed)
    ends_at_seconds = minutes * MINUTE
    jobs = _times(random, ends_at_seconds, random.choice((20.0, 60.0, 120.0)))
    faults = _times(random, ends_at_seconds, random.choice((15.0, 60.0, 180.0)))
    return Plan(
        seed,
        random.choice((1, 2, 2, 3, 4, 8)),
        ends_at_seconds,
        tuple(PlannedJob(at, random.choice(_TRAITS)) for at in jobs),
        tuple(_fault(random, at) for at in faults),
    )


def _times(random: Random, end: float, mean_gap: float) -> list[float]:
    times = [random.expovariate(1 / mean_gap)]
    while times[-1] < end:
        times.append(times[-1] + random.expovariate(1 / mean_gap))
    return times[:-1]


def _fault(random: Random, at: float) -> Fault:
    kind = random.choice(random.choice((_COMMON, tuple(Kind))))
    return Fault(at, kind, random.randrange(64), random.choice(_DURATIONS) * random.uniform(0.5, 1.0))
