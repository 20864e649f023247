"""From an adapter's exception to the job's outcome."""

from dataclasses import dataclass

from worker.core.adapter_codes import INPUT_CODES, code_in, row_of_code, submission_code
from worker.core.evidence import CallCounts, HeldFailure, Suspect, convicts, others_died_since, remembered
from worker.core.faults import ANY_OTHER, Fault, Suspicion, row_of
from worker.core.file_refusals import FileRefused
from worker.core.outcome import Failed, Released, Retried
from worker.ipc.backoff import doubling
from worker.ipc.contract import Step

HELD_SECONDS = 2.0  # a held job is tried again so soon, unless a gate closes for it meanwhile
MAX_HELD_SECONDS = 60.0  # of a suspect job: without evidence it is asked again and again, and its calls take a model's time
MAX_BACKOFF_SECONDS = 86_400.0
HELD_TOO_LONG = "held_too_long"


@dataclass(frozen=True, slots=True)
class Failure:
    """An adapter's failure without its message, which may contain a pupil's text.

    `error_class` is the code that was the message, the reason of a refused file, or the name of the class.
    """

    step: Step
    fault: Fault
    error_class: str
    error_code: str = ""
    suspicion: Suspicion = Suspicion.ODD
    is_bug: bool = False  # an exception outside the contract
    phase: Step | None = None  # of the submission, if it is not the step of the model: pictures are judged by the vision model

    @property
    def written_phase(self) -> Step:
        """Phase that the submission's row names for this failure."""
        return self.phase or self.step

    @property
    def code(self) -> str:
        """Code of the submission if it fails by this, and if the database takes it."""
        return self.error_code or self.written_phase.failure


def failure_of(error: BaseException, step: Step) -> Failure:
    """Classify an exception by the tables of faults: by the code that is its message, or by its class."""
    of_class, named = row_of(type(error)), getattr(error, "error_code", None)
    code = code_in(error, of_class)
    row = row_of_code(code, of_class)
    error_code = str(named) if isinstance(named, str) and named in INPUT_CODES else submission_code(code, row, step)
    return Failure(step, row.fault, code or name_of(error), error_code, row.suspicion, is_bug=row is ANY_OTHER)


def name_of(error: BaseException) -> str:
    """Return the reason of a refused file, which is stable, or the name of the class."""
    return error.reason if isinstance(error, FileRefused) else type(error).__name__


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of the queue contract. `max_age_seconds` 0 sets no limit."""

    max_retries: int
    backoff_seconds: float
    max_age_seconds: float = 0.0

    def is_too_old(self, age_seconds: float) -> bool:
        return 0 < self.max_age_seconds <= age_seconds


@dataclass(frozen=True, slots=True)
class JobAtFailure:
    """The job at its failure: attempts used since its last committed page, its age, and the evidence about its step."""

    attempts: int
    age_seconds: float
    counts: CallCounts
    held_failure: HeldFailure | None = None


def outcome_of(failure: Failure, job: JobAtFailure, policy: RetryPolicy) -> Failed | Retried | Released:
    """Hold the job for a fault of the surroundings, retry it for the model's or its own, fail it for the input's."""
    match failure.fault:
        case Fault.INPUT:
            return _failed(failure)
        case Fault.ANSWER:
            return _attempted(failure, job, policy)
        case Fault.SURROUNDINGS:
            return _held(failure, job, policy, None)
        case Fault.SUSPECT:
            return _judged(failure, job, policy)


def _judged(failure: Failure, job: JobAtFailure, policy: RetryPolicy) -> Failed | Retried | Released:
    suspect = Suspect(failure.suspicion, failure.error_class, failure.step)
    if convicts(job.held_failure, suspect, job.counts):
        return _attempted(failure, job, policy)
    return _held(failure, job, policy, remembered(job.held_failure, suspect, job.counts))


def _held(failure: Failure, job: JobAtFailure, policy: RetryPolicy, held_failure: HeldFailure | None) -> Failed | Released:
    """Only the age of the job ends this, and the job's error code says so."""
    if policy.is_too_old(job.age_seconds):
        return Failed(failure.code, f"{HELD_TOO_LONG}:{failure.error_class}", failure.error_class)
    is_alone = job.held_failure is None or not others_died_since(job.held_failure, job.counts)
    holds = held_failure.times - 1 if held_failure and is_alone else 0  # where others die too, the breaker limits the calls
    return Released("held", doubling(HELD_SECONDS, MAX_HELD_SECONDS, holds), failure.error_class, held_failure)


def _attempted(failure: Failure, job: JobAtFailure, policy: RetryPolicy) -> Failed | Retried:
    """Retry with doubling waits while attempts are left."""
    if policy.is_too_old(job.age_seconds) or job.attempts >= policy.max_retries:
        return _failed(failure)
    delay_seconds = doubling(policy.backoff_seconds, MAX_BACKOFF_SECONDS, job.attempts)
    return Retried(failure.written_phase, failure.error_class, delay_seconds)


def _failed(failure: Failure) -> Failed:
    return Failed(failure.code, failure.code, failure.error_class)
