"""The submissions and faults of one run, determined by seed and minutes."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import accumulate, count, takewhile
from random import Random
from typing import Final

from testkit.ollama_simulator.fault import FaultKind

FLEETS: Final = 2
WORKERS: Final = 4
MOST_WORKERS: Final = 6
FAULT_GAP_SECONDS: Final = 1.7  # mean
ONLY_GAP_SECONDS: Final = 3.0  # mean, between two faults of one kind in a run with chosen kinds
SUBMISSION_GAP_SECONDS: Final = 0.4  # mean, half of the throughput, because long faults often hold one of the two hosts
PERMITS: Final = 3  # per model: fewer than workers, so that workers wait for permits, and enough for the load
FREEZE_SECONDS: Final = (1.0, 8.0)
STANDSTILL_SECONDS: Final = (10.0, 40.0)  # longer than every time-out of the run, shorter than the longest allowed standstill
TAKEOVER_SECONDS: Final = (16.0, 32.0)  # longer than a step's lease, so that the other fleet takes the jobs over
OUTAGE_SECONDS: Final = (0.0, 5.0)
MODEL_FAULTS: Final = tuple(kind for kind in FaultKind if kind is not FaultKind.SAY)  # SAY needs a text


class Work(StrEnum):
    """The kind of a submission."""

    TEXT = "text"
    PHOTO = "photo"
    SCAN = "scan"
    DOCUMENT = "document"
    RENDERED = "document whose pages the web side has rendered"
    READ = "document that the web side has read"
    DAMAGED = "damaged"


class Kind(Enum):
    """The kind of a fault, or of a command."""

    KILL_WORKER = "a worker gets SIGKILL"
    KILL_REPEATEDLY = "a job's worker gets SIGKILL, and so does the next worker that takes it"
    TERMINATE_WORKER = "a worker gets SIGTERM from a stranger"
    FREEZE_WORKER = "a worker gets SIGSTOP, later SIGCONT"
    KILL_MONITOR = "a monitor gets SIGKILL"
    TERMINATE_MONITOR = "a monitor gets SIGTERM from a stranger"
    FREEZE_MONITOR = "a monitor gets SIGSTOP, later SIGCONT"
    KILL_SUPERVISOR = "a supervisor gets SIGKILL and is started again"
    TERMINATE_SUPERVISOR = "a supervisor gets SIGTERM and is started again"
    FREEZE_SUPERVISOR = "a supervisor gets SIGSTOP, later SIGCONT"
    FREEZE_HOST = "a supervisor and all of its children get SIGSTOP, later SIGCONT"
    SILENCE_HOST = "no packet passes between a host and the database server, and neither side gets an error"
    STOP_BACKEND = "the server process of a worker's connection gets SIGSTOP, later SIGCONT"
    LEAVE_HELPER = "an adapter leaves a process in a session of its own, then its worker gets SIGKILL"
    REFUSE_ROW = "the database refuses writes to one submission"
    HANG_NAMES = "name lookups of a host get no answer"
    NO_NAMES = "a name that a host looks up has no address"
    STORE_AWAY = "the files of submissions are away, refused, late or limited for a host"
    LOCK_SUBMISSION = "a session holds a lock on one submission"
    LOCK_TABLE = "a session holds a lock on the queue"
    RESTART_SERVER = "the database server is stopped, and started again"
    CRASH_SERVER = "the database server crashes, and recovers"
    CUT_ONE = "the server ends one connection"
    CUT_ALL = "the server ends all connections, each second"
    CUT_LINK = "the network resets all connections of a host to the database server"
    LOSE_ANSWERS = "the database server has done what it was asked, and the network loses its answers"
    STALL_LINK = "the network between a host and the database server passes nothing on for a while"
    MODEL_FAULT = "the model server answers wrongly, or not at all"
    MODEL_SERVER_AWAY = "a host gets no connection to the model server"
    MODEL_LIST_FAILS = "a host gets no list of the models"
    MODEL_MISSING = "a model is not installed for a while"
    KILL_RUNNER = "a submission kills the model's runner at each call, with its neighbours' calls"
    RELOAD = "the settings are read again"
    RELOAD_WRONG = "the settings are read again and are wrong"
    SCALE = "an operator wants another number of workers"
    RECYCLE = "an operator wants new processes"


FAULT_MIX: Final = (
    *[Kind.KILL_WORKER] * 3,
    *[Kind.FREEZE_WORKER] * 2,
    *[Kind.MODEL_FAULT] * 3,
    *[Kind.LOSE_ANSWERS] * 2,
    *Kind,
)
"""Each round of faults is this mix, shuffled, so that a short run has every kind."""

LONG: Final = frozenset(
    {
        Kind.FREEZE_SUPERVISOR,
        Kind.FREEZE_MONITOR,
        Kind.SILENCE_HOST,
        Kind.STOP_BACKEND,
        Kind.REFUSE_ROW,
        Kind.HANG_NAMES,
        Kind.NO_NAMES,
        Kind.STORE_AWAY,
        Kind.LOCK_SUBMISSION,
        Kind.MODEL_SERVER_AWAY,
        Kind.MODEL_LIST_FAILS,
        Kind.MODEL_MISSING,
    }
)
"""Faults without an end of their own that a part of the product could wait for without a limit."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`number` chooses the victim among the running processes, `seconds` is the duration, `model_fault` is for MODEL_FAULT."""

    at_seconds: float
    kind: Kind
    fleet: int
    number: int
    seconds: float
    model_fault: FaultKind


@dataclass(frozen=True, slots=True)
class PlannedSubmission:
    """A submission. Its content is determined by the seed and its `number`."""

    at_seconds: float
    number: int
    work: Work


@dataclass(frozen=True, slots=True)
class Plan:
    """There are no submissions and no faults after `ends_at_seconds`."""

    seed: int
    ends_at_seconds: float
    submissions: tuple[PlannedSubmission, ...]
    faults: tuple[Fault, ...]


def draw(seed: int, minutes: float, only: tuple[Kind, ...] = ()) -> Plan:
    """Draw the plan, with faults of these kinds only if there are any. Equal arguments give equal plans."""
    random, ends_at_seconds = Random(seed), 60.0 * minutes
    submissions = [
        PlannedSubmission(at, number, random.choices(tuple(Work), weights=(8, 4, 3, 3, 2, 1, 1))[0])
        for number, at in enumerate(_times(random, SUBMISSION_GAP_SECONDS, ends_at_seconds))
    ]
    kinds: list[Kind] = []
    faults = []
    mix = tuple(only or FAULT_MIX)
    gap_seconds = FAULT_GAP_SECONDS if not only else ONLY_GAP_SECONDS / len(only)
    for at in _times(random, gap_seconds, ends_at_seconds):
        kinds = kinds or random.sample(mix, len(mix))
        faults.append(_fault(random, at, kinds.pop()))
    return Plan(seed, ends_at_seconds, tuple(submissions), tuple(faults))


def _times(random: Random, mean_gap_seconds: float, until_seconds: float) -> list[float]:
    gaps = (random.expovariate(1 / mean_gap_seconds) for _ in count())
    return list(takewhile(lambda at: at < until_seconds, accumulate(gaps)))


def _fault(random: Random, at: float, kind: Kind) -> Fault:
    match kind:
        case Kind.FREEZE_HOST:
            span = TAKEOVER_SECONDS
        case Kind.RESTART_SERVER | Kind.CRASH_SERVER | Kind.CUT_ALL:
            span = OUTAGE_SECONDS
        case _ if kind in LONG:
            span = STANDSTILL_SECONDS
        case _:
            span = FREEZE_SECONDS
    return Fault(at, kind, random.randrange(FLEETS), random.randrange(64), random.uniform(*span), random.choice(MODEL_FAULTS))
