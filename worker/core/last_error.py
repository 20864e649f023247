"""The code of a submission's last failure, as `vision_last_error` and `feedback_last_error` have it.

The platform shows and diagnoses by these codes. Where it has a code of its own for a failure, ours is the same. The log and the
payload keep the name of the class. docs/operations.md has a row for each code.
"""

import re

from worker.core.adapter_codes import CODE_ROWS, FEEDBACK_INVALID_ANALYSIS
from worker.ipc.contract import ErrorCode

MAX_CHARACTERS = 64
UNNAMED = "adapter_failed"
_CODE = re.compile(r"[a-z0-9_]{1,64}")
_FOREIGN_CODES = frozenset(row.name for row in CODE_ROWS)  # some have capitals
_WORD_BEGIN = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OF_CLASS = {
    "InvalidDocument": FEEDBACK_INVALID_ANALYSIS,
    "FeedbackInvalidAnalysisError": FEEDBACK_INVALID_ANALYSIS,
    "FirstTokenTimeout": "timeout",
    "TokenTimeout": "timeout",
    "AnswerTimeout": "timeout",
    "ForeignTimeout": "timeout",
    "StoreUnreachable": "remote_fetch_failed",
    "StoreNameUnresolved": "remote_fetch_failed",
    "StoreRejected": "remote_fetch_failed",
    "StoreFailed": "remote_fetch_failed",
    "StoreBusy": "remote_fetch_failed",
    "RootUnreadable": "read_error",
    "FileTimeout": "read_error",
    "VisionTransientError": ErrorCode.VISION_FAILED.value,
    "VisionPermanentError": ErrorCode.VISION_FAILED.value,
    "FeedbackTransientError": ErrorCode.FEEDBACK_FAILED.value,
    "FeedbackPermanentError": ErrorCode.FEEDBACK_FAILED.value,
}


def code_of(reason: str) -> str:
    """Return the code of a failure. `reason` is a code already, perhaps with details after a colon, or the name of a class.

    A class without a row has its own name in lower case, with `_` between the words.
    """
    reason = reason.partition(":")[0]
    if reason in _FOREIGN_CODES or _CODE.fullmatch(reason):
        return reason
    words = reason if "_" in reason else _WORD_BEGIN.sub("_", reason)  # that of an SQLSTATE has capitals too
    return _OF_CLASS.get(reason) or re.sub(r"[^a-z0-9_]", "", words.lower())[:MAX_CHARACTERS] or UNNAMED
