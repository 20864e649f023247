"""Both adapters at once, each of whose calls leaves a line in the file LEDGER: how often a model would have been asked, and what.

A document has three pages. The n-th call for feedback fails with the n-th word of FEEDBACK_ERRORS, whichever worker makes it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.adapters.stub import Stub, StubFeedback
from worker.core.errors import FeedbackPermanentError, InvalidDocument, Unavailable

PAGES_OF_A_FILE = 3
FEEDBACK = "feedback"
ERRORS = {"unavailable": Unavailable, "invalid": InvalidDocument, "permanent": FeedbackPermanentError}


class Ledger:
    """Appended to in one write: a killed worker's line is there or not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, line: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{line}\n")

    def lines(self) -> list[str]:
        return self._path.read_text().split("\n")[:-1]


class Pages:
    """Pages that contain their number."""

    def __init__(self, ledger: Ledger, first_page: int, total: int) -> None:
        self._ledger, self._next, self.total = ledger, first_page, total

    def next_page(self) -> bytes:
        self._next += 1
        return page_line(self._next - 1).encode()

    def read(self, picture: bytes) -> str:
        self._ledger.note(picture.decode())
        return picture.decode()

    def metadata(self) -> dict[str, Any]:
        return {}


class Counting(Stub):
    def __init__(self, ledger: Ledger, errors: Sequence[str]) -> None:
        self._ledger, self._errors = ledger, errors

    def fingerprint(self, submission: Mapping[str, Any]) -> str:
        return f"made of {submission['sha256']}"

    @contextmanager
    def pages(self, submission: Mapping[str, Any], first_page: int) -> Iterator[Pages]:
        yield Pages(self._ledger, first_page, PAGES_OF_A_FILE if submission["kind"] == "file" else 1)

    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> StubFeedback:
        self._note_feedback()
        return super().analyze(text_md=text_md, criteria=criteria)

    def analyze_visual(
        self, *, submission: Mapping[str, Any], job_payload: Mapping[str, Any], criteria: Sequence[str]
    ) -> StubFeedback:
        self._note_feedback()
        return super().analyze_visual(submission=submission, job_payload=job_payload, criteria=criteria)

    def analyze_dialog(
        self,
        *,
        student_performance: Mapping[str, Any],
        conversation_context: Mapping[str, Any],
        criteria: Sequence[str],
        instruction_md: str,
    ) -> StubFeedback:
        self._note_feedback()
        words = {"student_performance": student_performance, "conversation_context": conversation_context}
        return super().analyze_dialog(criteria=criteria, instruction_md=instruction_md, **words)

    def _note_feedback(self) -> None:
        number = self._ledger.lines().count(FEEDBACK)
        self._ledger.note(FEEDBACK)
        if number < len(self._errors):
            raise ERRORS[self._errors[number]]


def page_line(number: int) -> str:
    return f"page {number}"


def build() -> Counting:
    errors = os.environ.get("FEEDBACK_ERRORS", "").split()
    return Counting(Ledger(Path(os.environ["LEDGER"])), errors)
