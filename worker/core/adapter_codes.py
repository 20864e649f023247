"""The codes that adapters of other packages raise as their message, and whose fault each is.

The platform shows and diagnoses by these codes. So they stand in `vision_last_error` and `feedback_last_error` as they are, and
in the log where other failures have the name of their class. Any other message may contain a pupil's text and is dropped.
"""

import re

from worker.core.faults import Fault, Row, Suspicion
from worker.core.platform import Platform
from worker.ipc.contract import RATE_LIMITED, ErrorCode, Step

FEEDBACK_INVALID_ANALYSIS = "feedback_invalid_analysis"
PRACTICE_ANALYSIS_INVALID = "practice_analysis_invalid"
INPUT_CODES = frozenset({ErrorCode.INPUT_CORRUPT, ErrorCode.INPUT_UNSUPPORTED, ErrorCode.INPUT_TOO_LARGE})
_INVALID_ANALYSIS = {"FeedbackInvalidAnalysisError", "InvalidDocument", "ContextQuoted"}  # the last two are in worker.core.errors
_CODE = re.compile(r"(?!database_)[a-z0-9_]{1,64}")  # that beginning means a refusal by the database, see worker.queue.sqlstate
_CONTRACT = {
    "VisionTransientError",
    "VisionPermanentError",
    "FeedbackTransientError",
    "FeedbackPermanentError",
    "FeedbackInvalidAnalysisError",
}

CODE_ROWS = (
    Row("missing_OPENAI_BASE_URL", Fault.SURROUNDINGS, "the adapter has no address of a model server"),
    Row("missing_AI_TEXT_MODEL", Fault.SURROUNDINGS, "the adapter has no model for texts"),
    Row("missing_AI_VISUAL_MODEL", Fault.SURROUNDINGS, "the adapter has no model for pictures"),
    Row("missing_AI_OCR_MODEL", Fault.SURROUNDINGS, "the adapter has no model that reads pages"),
    Row("dspy_unavailable", Fault.SURROUNDINGS, "a package of the adapter is not installed"),
    Row("untrusted_host", Fault.SURROUNDINGS, "the address of the files is not that of the object store"),
    Row("pdf_images_unavailable", Fault.SURROUNDINGS, "the adapter has no directory for the pages of a PDF"),
    Row(RATE_LIMITED, Fault.SURROUNDINGS, "the provider of the model asks for a pause (429)"),
    Row("remote_fetch_failed", Fault.SUSPECT, "the store is away, or has not this file"),
    Row("image_unavailable", Fault.SUSPECT, "the store is away, or has not this picture"),
    Row("sb3_unavailable", Fault.SUSPECT, "the store is away, or has not this program"),
    Row("hex_unavailable", Fault.SUSPECT, "the store is away, or has not this program"),
    Row("filius_unavailable", Fault.SUSPECT, "the store is away, or has not this program"),
    Row("timeout", Fault.SUSPECT, "the model did not answer in time", Suspicion.LATE),
    Row("empty_ocr_text", Fault.ANSWER, "the answer has no text"),
    Row("ocr_text_too_long", Fault.ANSWER, "the answer is longer than a text may be"),
)
_BY_CODE = {row.name: row for row in CODE_ROWS}


def code_in(error: BaseException, row: Row) -> str:
    """Return the code that is the error's message. '' for any other message, and for a class outside of the platform's contract.

    `row` is that of the error's class. A bug's message is no code, because one word may be a pupil's.
    """
    message = error.args[0] if len(error.args) == 1 and row.name in _CONTRACT else None
    if not isinstance(message, str):
        return ""
    return message if message in _BY_CODE or _CODE.fullmatch(message) else ""


def row_of_code(code: str, row: Row) -> Row:
    """Return the code's row, else the row of its class."""
    return _BY_CODE.get(code, row)


def submission_code(code: str, row: Row, step: Step) -> str:
    """Return the code that the submission gets if it fails by this. Codes of the input are the feedback's alone, as there."""
    if row.name in _INVALID_ANALYSIS or code == FEEDBACK_INVALID_ANALYSIS:
        return FEEDBACK_INVALID_ANALYSIS
    is_named = step is Step.FEEDBACK and row.fault is Fault.INPUT and code in {*INPUT_CODES, PRACTICE_ANALYSIS_INVALID}
    return code if is_named else ""


def accepted_code(wanted: str, platform: Platform, step: Step) -> str:
    """Return the wanted code, or what the database takes instead of it."""
    wider = (wanted, FEEDBACK_INVALID_ANALYSIS) if wanted == PRACTICE_ANALYSIS_INVALID else (wanted,)
    return next((code for code in wider if code in platform.error_codes), step.failure)
