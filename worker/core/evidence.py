"""The evidence that turns a suspect failure into the job's own, or leaves it with the surroundings.

A first failure convicts no job. It is remembered in the payload with the number of calls that were answered until then. The
same failure again convicts the job if calls of other jobs were answered since: then the surroundings work, and not for this job.
A call that died together with others convicts no job, because any of them may have ended the model's process. Calls of other jobs
that died one by one since the last answer speak for the job: a server may answer probes and fail each real call.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.core.faults import Suspicion
from worker.ipc.contract import Step


@dataclass(frozen=True, slots=True)
class CallCounts:
    """The step's calls in this instance at the moment of a failure.

    `answered`: answered calls of all jobs during which no other call died, `own_answered` of them for this one since its lease.
    `others_in_flight`: calls of other workers that have not ended. `died`: calls of all jobs that died. `died_meanwhile`: those
    of other workers during this call. `probes`: the monitor's own requests that were answered. `suspects`: jobs whose calls
    failed since the last answer, with this one.
    """

    instance: int
    answered: int = 0
    own_answered: int = 0
    others_in_flight: int = 0
    died: int = 0
    died_meanwhile: int = 0
    probes: int = 0
    suspects: int = 0


@dataclass(frozen=True, slots=True)
class HeldFailure:
    """The key `suspect` of a payload: the failure for which the job was held, and the calls that were answered until then.

    The calls that were `in_flight` began before the failure, so their answers are no evidence. After a call that died they are 0,
    because the answers of calls that began before a death are not counted. `times` counts the holds.
    """

    group: Suspicion
    error_class: str
    step: Step
    instance: int
    answered: int
    in_flight: int
    died: int
    probes: int
    times: int = 1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


_HELD_FAILURE: TypeAdapter[HeldFailure] = TypeAdapter(HeldFailure)


def held_failure_in(payload: object) -> HeldFailure | None:
    """Return the failure in a payload. None if there is none, or if no worker can have written it."""
    if not isinstance(payload, Mapping) or "suspect" not in payload:
        return None
    try:
        return _HELD_FAILURE.validate_python(payload["suspect"])
    except ValidationError:
        return None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A suspect failure."""

    group: Suspicion
    error_class: str
    step: Step


def remembered(before: HeldFailure | None, suspect: Suspect, counts: CallCounts) -> HeldFailure:
    """Return the held failure after one that convicts no job. The counts of the first failure stay."""
    if before is not None and _is_same(before, suspect, counts):
        return replace(before, error_class=suspect.error_class, times=before.times + 1)
    in_flight = 0 if suspect.group is Suspicion.DIED else counts.others_in_flight
    at_failure = counts.answered, in_flight, counts.died, counts.probes
    return HeldFailure(suspect.group, suspect.error_class, suspect.step, counts.instance, *at_failure)


def convicts(before: HeldFailure | None, suspect: Suspect, counts: CallCounts) -> bool:
    """Report whether the failure is the job's own."""
    if before is None or not _is_same(before, suspect, counts):
        return False
    if suspect.group is not Suspicion.DIED:
        return _answered_since(before, counts) > 0
    if counts.died_meanwhile or counts.others_in_flight:
        return False
    others_died = others_died_since(before, counts)
    is_probe_evidence = others_died == 0 and counts.suspects <= 1 and counts.probes > before.probes
    return is_probe_evidence or _answered_since(before, counts) >= max(1, others_died)


def _answered_since(before: HeldFailure, counts: CallCounts) -> int:
    """Lower bound of the calls of other jobs that began after the failure and were answered."""
    return counts.answered - counts.own_answered - before.answered - before.in_flight


def others_died_since(before: HeldFailure, counts: CallCounts) -> int:
    """Calls of other jobs that died. The job itself died once in each hold since the first, if its calls die, and once now."""
    own = before.times if before.group is Suspicion.DIED else 0
    return max(0, counts.died - before.died - own)


def _is_same(before: HeldFailure, suspect: Suspect, counts: CallCounts) -> bool:
    """Counts of another instance cannot be compared. Odd failures are the same only if their class is."""
    is_same_class = suspect.group is not Suspicion.ODD or before.error_class == suspect.error_class
    return is_same_class and (before.group, before.step, before.instance) == (suspect.group, suspect.step, counts.instance)
