"""The plan of one simulated run, drawn from a seed. Times are in steps."""

from dataclasses import dataclass
from enum import Enum
from random import Random

from supervisor.admission.policy import AdmissionPolicy, TakeTurns

VISION, FEEDBACK = "vision", "feedback"
FIRST_STEP = 2  # after the first decision
TIMEOUT_STEPS = 6  # of a silent call
LOAD_TIMEOUT_STEPS = 8  # of a preload
LYING = 3  # every third file cannot be read, while the store answers probes
UNIT_BYTES = 2**26
SIZES = {VISION: 30 * UNIT_BYTES, FEEDBACK: 50 * UNIT_BYTES}  # as reported


class Kind(Enum):
    """Kinds of faults. A fault lasts for its `steps`."""

    SILENT_PS = "/api/ps fails"
    CRASH = "a runner dies and stays in the list"
    WEDGE = "a runner gives no more tokens"
    BUSY = "503"
    ERRORS = "calls fail"
    LOAD_FAILS = "a model cannot be loaded"
    SLOW_LOAD = "a load takes longer than its timeout"
    STUCK = "an unload has no effect"
    EXPIRE = "an idle model expires"
    FOREIGN = "a foreign model is in memory"
    FLAP = "memory alternates around the limit"
    UNDERSTATED = "the list reports a third of the memory"
    HIDDEN = "a model is listed under another name"
    FOREIGN_LOCK = "another instance holds a model lock"
    SERVER_AWAY = "no connection to the server can be made"
    STORE_AWAY = "no file can be read"
    STORE_LIES = "the store answers probes, and every third file cannot be read"
    FILES_GONE = "the store answers probes, and no file is there"
    MONITOR_DIES = "the monitor dies, and the next one starts without state"


@dataclass(frozen=True, slots=True)
class Fault:
    at: int
    kind: Kind
    model: str
    steps: int


@dataclass(frozen=True, slots=True)
class PlannedJob:
    at: int
    is_text: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """After `ends_at` no fault begins, and every job must end."""

    seed: int
    workers: int
    policy: AdmissionPolicy
    growth: int  # bytes that one call adds to the runner's process, not in the list
    projector: int  # bytes of the vision model that are not in the list
    is_observed: bool  # the processes are visible
    ends_at: int
    jobs: tuple[PlannedJob, ...]
    faults: tuple[Fault, ...]


_KINDS = (*Kind, Kind.WEDGE, Kind.WEDGE)  # three times as often, because it matters only for overlapping calls


def draw(seed: int, steps: int) -> Plan:
    """Draw the plan. The same seed gives the same plan."""
    random = Random(seed)
    policy = _policy(random)
    jobs = tuple(PlannedJob(at, random.random() < 0.3) for at in _times(random, steps, random.choice((2.0, 4.0, 10.0))))
    faults = tuple(_fault(random, at) for at in _times(random, steps, random.choice((5.0, 10.0, 25.0))))
    growth, projector = random.choice((0, 1, 1, 4)) * UNIT_BYTES, random.choice((0, 5)) * UNIT_BYTES
    return Plan(seed, random.choice((1, 2, 4, 8)), policy, growth, projector, random.random() < 0.8, steps, jobs, faults)


def _policy(random: Random) -> AdmissionPolicy:
    limit = random.choice((0, 100, 110, 150, 75, 45)) * UNIT_BYTES
    return AdmissionPolicy(
        vision_model=VISION,
        feedback_model=random.choice((FEEDBACK, FEEDBACK, FEEDBACK, VISION)),
        num_parallel=random.choice((1, 2, 4)),
        limit_bytes=limit,
        low_water_bytes=limit * 9 // 10,
        max_loaded_models=random.choice((0, 0, 0, 1)),
        take_turns=random.choice((TakeTurns.AUTO, TakeTurns.AUTO, TakeTurns.ALWAYS)),
        vision_timeout_seconds=TIMEOUT_STEPS,
        feedback_timeout_seconds=TIMEOUT_STEPS,
        sample_seconds=1.0,
        max_hold_seconds=12.0,
        grace_seconds=3.0,
        probe_seconds=2.0,
        probe_try_seconds=2.0,
        load_retry_seconds=2.0,
        unload_seconds=6.0,
        memory_back_seconds=3.0,
        exclusive_seconds=10.0,
        exclusive_loads=4.0,
        turn_seconds=4.0,
    )


def _times(random: Random, end: int, mean_gap: float) -> list[int]:
    times = [random.expovariate(1 / mean_gap)]
    while times[-1] < end:
        times.append(times[-1] + random.expovariate(1 / mean_gap))
    return [FIRST_STEP + int(time) for time in times[:-1]]


def _fault(random: Random, at: int) -> Fault:
    return Fault(at, random.choice(_KINDS), random.choice((VISION, FEEDBACK)), random.choice((1, 2, 4, 10, 25, 90)))
