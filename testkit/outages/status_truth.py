"""The samples of `status` that were not true. A pure function of the samples and of the results."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from testkit.outages.matrix import Case, Moment, Request, Target, Way

SHOWN_SECONDS: Final = 5.0  # the longest time until `status` shows a part that answers with errors or refuses connections
SHOWN_BY_TIMEOUT_SECONDS: Final = 10.0  # of a silent model server, store or disk: the longest limit of one request, and a sample
SHOWN_BY_LOOKUP_SECONDS: Final = 12.0  # of a name: a lookup (6 s), the wait before the next one (5 s), and a sample
SHOWN_BY_DATABASE_SECONDS: Final = 13.0  # of a database that is silent (10 s) or locked, and the next poll
SHOWN_AS_STANDSTILL_SECONDS: Final = 56.0  # of a row or a load that waits: the longest step with the short settings, and a poll
SHOWN_BY_ONE_JOB_SECONDS: Final = 12.0  # of calls to a model that one job is left to make: five tries, up to two seconds apart
LONG_CALL_SECONDS: Final = 40.0  # instead of SHOWN_BY_TIMEOUT_SECONDS with the default limits of a call (30 s)
LONG_STANDSTILL_SECONDS: Final = 92.0  # instead of SHOWN_AS_STANDSTILL_SECONDS with the default settings
OF_TWO_TURNS_SECONDS: Final = 12.0  # without an outage: each change between two models waits for their memory (5 s)
WELL_AGAIN_SECONDS: Final = 15.0  # after the last job: `status` shows an outage of the workers for 12 s


@dataclass(frozen=True, slots=True)
class Sample:
    """The answer of `status`. `state` is empty without an answer."""

    at: float
    state: str
    message: str


@dataclass(frozen=True, slots=True)
class Outage:
    """Its times, in Unix seconds like those of the samples. `is_long`: the fleet has the default settings."""

    began_at: float
    ended_at: float
    is_long: bool = False


def shown_seconds(case: Case, *, is_long: bool = False) -> float:
    """The documented time from the begin of an outage to a status that shows it. `is_long`: with the default settings."""
    is_silent = case.way in {Way.SILENT, Way.HUNG}
    match case.request.target:
        case Target.DATABASE if case.way is Way.ROW_LOCK:
            return LONG_STANDSTILL_SECONDS if is_long else SHOWN_AS_STANDSTILL_SECONDS
        case Target.DATABASE:
            return SHOWN_BY_DATABASE_SECONDS if is_silent or case.is_lock else SHOWN_SECONDS
        case Target.NAMES:
            return SHOWN_BY_LOOKUP_SECONDS
        case _ if case.request is Request.PRELOAD and is_silent:  # as a slow load is: until then `status` names the model
            return LONG_STANDSTILL_SECONDS if is_long else SHOWN_AS_STANDSTILL_SECONDS
        case Target.MODEL_SERVER if is_silent and is_long:
            return LONG_CALL_SECONDS
        case _ if case.request in {Request.VISION, Request.FEEDBACK} and case.moment is Moment.LAST and not is_silent:
            return SHOWN_BY_ONE_JOB_SECONDS
        case _ if case.request is Request.UNLOAD:
            return OF_TWO_TURNS_SECONDS
        case _:
            return SHOWN_BY_TIMEOUT_SECONDS if is_silent else SHOWN_SECONDS


def wrong_samples(case: Case, samples: Sequence[Sample], results_at: Sequence[float], jobs: int, outage: Outage) -> list[Sample]:
    """Return the samples of a standstill that are well, or whose message does not name the part that fails.

    A standstill is a time without a result while some of the `jobs` have none, for longer than `status` may take to show the
    outage.
    """
    delay_seconds = shown_seconds(case, is_long=outage.is_long)
    return [
        sample
        for sample in samples
        if _is_standing(sample.at, results_at, jobs, outage, delay_seconds) and sample.state and not _is_true(sample, case)
    ]


def _is_standing(at: float, results_at: Sequence[float], jobs: int, outage: Outage, delay_seconds: float) -> bool:
    before = [each for each in results_at if each <= at]
    return len(before) < jobs and at < outage.ended_at and at - max([outage.began_at, *before]) > delay_seconds


def _is_true(sample: Sample, case: Case) -> bool:
    return sample.state != "ok" and re.search(case.request.target.value, sample.message) is not None
