"""The one table of whose fault an adapter's failure is, by the name of the exception's class.

Names decide and not classes, because adapters of other packages define classes of their own. docs/faults.md prints the table.
"""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Origin of a failure, and its effect on the job. The values are the outcomes of `step_failed` in the log."""

    SURROUNDINGS = "surroundings"  # server, store, disk, name: the job is held and uses no attempt
    INPUT = "input"  # what was handed in: fails at once
    ANSWER = "answer"  # of the model: uses an attempt, and the next one differs
    SUSPECT = "suspect"  # of the surroundings or of the job: held until there is evidence against the job


class Suspicion(StrEnum):
    """Groups of suspect failures. A failure is the same again if its group is, and an odd one if its class is too."""

    DIED = "died"  # a request that ended without its answer. A probe of the monitor that was answered is evidence too
    LATE = "late"  # no answer in time. A probe is too small to be evidence
    ODD = "odd"  # anything else


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    name: str
    fault: Fault
    because: str
    suspicion: Suspicion = Suspicion.ODD


ANY_OTHER = Row("any other", Fault.SUSPECT, "a bug: of the adapter, of this program, or brought out by one text")

ROWS = (
    Row("Unavailable", Fault.SURROUNDINGS, "503 or 429: the server has no room now"),
    Row("ServerUnreachable", Fault.SURROUNDINGS, "no connection to the model server"),
    Row("NameUnresolved", Fault.SURROUNDINGS, "the name of the model server is not resolved"),
    Row("ModelElsewhere", Fault.SURROUNDINGS, "the model runs outside of the house, which no setting allows"),
    Row("ModelMissing", Fault.SURROUNDINGS, "the model is not installed on the server"),
    Row("LookupFailed", Fault.SURROUNDINGS, "the server does not list or describe its models"),
    Row("StoreUnreachable", Fault.SURROUNDINGS, "no connection to the object store"),
    Row("StoreNameUnresolved", Fault.SURROUNDINGS, "the name of the object store is not resolved"),
    Row("StoreRejected", Fault.SURROUNDINGS, "the store rejects the key or has no such bucket"),
    Row("StoreFailed", Fault.SURROUNDINGS, "the store answers with an error or breaks off"),
    Row("StoreBusy", Fault.SURROUNDINGS, "the store has no room now"),
    Row("RootUnreadable", Fault.SURROUNDINGS, "the storage root or a file in it is missing or not readable"),
    Row("FileTimeout", Fault.SURROUNDINGS, "the disk does not return the file in time"),
    Row("ImageUnreadable", Fault.INPUT, "the server cannot decode the picture"),
    Row("PromptTooLong", Fault.INPUT, "the text does not fit into the model's window"),
    Row("KeyRefused", Fault.INPUT, "the platform's storage key leads to no file of the bucket, and no later try changes it"),
    Row("FileRefused", Fault.INPUT, "the file cannot be read, for one of the reasons of documents.md"),
    Row("VisionPermanentError", Fault.INPUT, "the adapter says that no later try can succeed"),
    Row("FeedbackPermanentError", Fault.INPUT, "the adapter says that no later try can succeed"),
    Row("FeedbackInvalidAnalysisError", Fault.INPUT, "the adapter could not repair the model's answer, and asks for no other"),
    Row("AnswerTruncated", Fault.ANSWER, "the answer used up its tokens before its end"),
    Row("EmptyAnswer", Fault.ANSWER, "the answer has no text"),
    Row("Runaway", Fault.ANSWER, "the answer repeats itself or does not end"),
    Row("InvalidDocument", Fault.ANSWER, "the answer does not match the schema"),
    Row("ContextQuoted", Fault.ANSWER, "the answer quotes the teacher's confidential context"),
    Row("ServerError", Fault.SUSPECT, "an error status: a runner died, a load failed, or one prompt is at fault", Suspicion.DIED),
    Row("StreamBroken", Fault.SUSPECT, "the connection ended before the answer", Suspicion.DIED),
    Row("InvalidReply", Fault.SUSPECT, "the reply is not what the server sends", Suspicion.DIED),
    Row("FirstTokenTimeout", Fault.SUSPECT, "no token in time: a slow or silent server, or one long page", Suspicion.LATE),
    Row("TokenTimeout", Fault.SUSPECT, "the answer stopped", Suspicion.LATE),
    Row("AnswerTimeout", Fault.SUSPECT, "the answer did not end in time", Suspicion.LATE),
    Row("ForeignTimeout", Fault.SUSPECT, "a call of a foreign adapter did not end in time", Suspicion.LATE),
    Row("BadRequest", Fault.SUSPECT, "400 without a known reason: a model that cannot do the step, or one prompt"),
    Row("StoreFileMissing", Fault.SUSPECT, "the store works and has no such file"),
    Row("DecoderFailed", Fault.SUSPECT, "the child that decodes the file could not be started, was killed or took too long"),
    Row("VisionTransientError", Fault.SUSPECT, "the adapter says that a later try may succeed"),
    Row("FeedbackTransientError", Fault.SUSPECT, "the adapter says that a later try may succeed"),
    ANY_OTHER,
)
_BY_NAME = {row.name: row for row in ROWS if row is not ANY_OTHER}


def row_of(error_class: type[BaseException]) -> Row:
    """Return the row of the first name among the class and its base classes that the table has, else of any other."""
    return next((_BY_NAME[each.__name__] for each in error_class.__mro__ if each.__name__ in _BY_NAME), ANY_OTHER)
