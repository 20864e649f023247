"""The codes that a submission gets about its last failure."""

import re
from pathlib import Path

import pytest

from worker.core.adapter_codes import CODE_ROWS
from worker.core.faults import ANY_OTHER, ROWS
from worker.core.last_error import code_of

CLASSES = [row.name for row in ROWS if row not in (ANY_OTHER,) and row.name != "FileRefused"]  # a file has its reason
OPERATIONS = (
    (Path(__file__).parents[2] / "docs/operations.md").read_text().partition("\n## Last errors\n")[2].partition("\n## ")[0]
)

CODES = {
    "InvalidDocument": "feedback_invalid_analysis",
    "AnswerTruncated": "answer_truncated",
    "FirstTokenTimeout": "timeout",
    "StoreUnreachable": "remote_fetch_failed",
    "FeedbackPermanentError": "feedback_failed",
    "JSONDecodeError": "json_decode_error",
    "HTTPError": "http_error",
    "Überlauf": "berlauf",
    "Ä": "adapter_failed",
    "X" * 100: "x" * 64,
    "database_22P05": "database_22p05",
    "database_23514_all": "database_23514_all",
    "payload_invalid: student_sub": "payload_invalid",
    "held_too_long:database_57014": "held_too_long",
    "hash_mismatch": "hash_mismatch",
    "missing_OPENAI_BASE_URL": "missing_OPENAI_BASE_URL",
}


@pytest.mark.parametrize(("reason", "code"), CODES.items())
def test_a_code(reason: str, code: str) -> None:
    """A class becomes the platform's code or its own name in words. A code stays, without details."""
    assert code_of(reason) == code


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_has_a_documented_code(name: str) -> None:
    """Each class of the table of faults has a stable code, with a row that names both."""
    code = code_of(name)
    assert re.fullmatch(r"[a-z0-9_]{1,64}", code)
    (row,) = (line for line in OPERATIONS.splitlines() if line.startswith(f"| `{code}` |"))
    assert f"`{name}`" in row


@pytest.mark.parametrize("code", [row.name for row in CODE_ROWS])
def test_a_code_of_the_platform_stays(code: str) -> None:
    assert code_of(code) == code
