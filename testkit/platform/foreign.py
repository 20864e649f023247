"""A pair of adapters as the platform's: built without arguments, configured by the environment, with codes as their messages.

Directory SCENE has a file for each mark and step with one word for each call: answer, transient, permanent or hang. A call that
hangs goes on after `release`. Each call leaves a line in its file `calls`.
"""

import os
import select
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import testkit.adapters.platform_practice  # noqa: F401  makes the platform's functions for practice importable

CALLS: Final = "calls"
TRANSIENT: Final = {"vision": "empty_ocr_text", "feedback": "timeout"}
PERMANENT: Final = {"vision": "hash_mismatch", "feedback": "empty_feedback_md"}


class VisionTransientError(Exception):
    pass


class VisionPermanentError(Exception):
    pass


class FeedbackTransientError(Exception):
    pass


class FeedbackPermanentError(Exception):
    pass


ERRORS: Final = {
    ("vision", "transient"): VisionTransientError,
    ("vision", "permanent"): VisionPermanentError,
    ("feedback", "transient"): FeedbackTransientError,
    ("feedback", "permanent"): FeedbackPermanentError,
}


@dataclass(frozen=True)
class TokenUsageEvent:
    """One answer of a model, with the platform's fields."""

    stage: str
    modality: str
    event_key: str = field(default_factory=lambda: str(uuid.uuid4()))
    model: str = "openai/foreign"
    call_kind: str = "primary"
    usage_known: bool = True
    input_tokens: int | None = 120
    output_tokens: int | None = 30
    total_tokens: int | None = 150
    unknown_reason: str | None = None
    error_code: str | None = None


@dataclass(frozen=True)
class VisionResult:
    text_md: str
    raw_metadata: dict[str, Any] | None
    usage_events: list[TokenUsageEvent]


@dataclass(frozen=True)
class FeedbackResult:
    feedback_md: str
    analysis_json: dict[str, Any]
    parse_status: str | None
    usage_events: list[TokenUsageEvent]


class Scene:
    """The directory that a test writes and reads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def plan(self, mark: str, step: str, words: Sequence[str]) -> None:
        (self._directory / f"{mark}.{step}").write_text(" ".join(words))

    def release(self, mark: str) -> None:
        (self._directory / f"{mark}.released").touch()

    def calls(self, mark: str) -> list[str]:
        """Return the steps of all calls for the mark, in order."""
        file = self._directory / CALLS
        lines = file.read_text().splitlines() if file.exists() else []
        return [step for each, step in (line.split() for line in lines) if each == mark]

    def meet(self, mark: str, step: str) -> None:
        """Do what is planned for this call."""
        number = self.calls(mark).count(step)
        with (self._directory / CALLS).open("a") as file:
            file.write(f"{mark} {step}\n")
        planned = self._directory / f"{mark}.{step}"
        words = planned.read_text().split() if planned.exists() else []
        word = words[number] if number < len(words) else "answer"
        while word == "hang" and not (self._directory / f"{mark}.released").exists():
            select.select([], [], [], 0.01)
        if error := ERRORS.get((step, word)):
            raise error((TRANSIENT if word == "transient" else PERMANENT)[step])


class Both:
    """Both adapters in one class."""

    def __init__(self) -> None:
        self._scene = Scene(Path(os.environ["SCENE"]))

    def extract(self, *, submission: Mapping[str, Any], job_payload: Mapping[str, Any]) -> VisionResult:  # noqa: ARG002  the interface
        mark = mark_in(job_payload["criteria"])
        self._scene.meet(mark, "vision")
        return VisionResult(read_text(mark), {"adapter": "foreign"}, [TokenUsageEvent("ocr", "visual")])

    def analyze(
        self,
        *,
        text_md: str,  # noqa: ARG002  the interface
        criteria: Sequence[str],
        instruction_md: str | None = None,  # noqa: ARG002
        teacher_context_md: str | None = None,  # noqa: ARG002
    ) -> FeedbackResult:
        return self._judged(criteria, "text")

    def analyze_visual(
        self,
        *,
        submission: Mapping[str, Any],  # noqa: ARG002  the interface
        job_payload: Mapping[str, Any],  # noqa: ARG002
        criteria: Sequence[str],
        instruction_md: str | None = None,  # noqa: ARG002
        teacher_context_md: str | None = None,  # noqa: ARG002
    ) -> FeedbackResult:
        return self._judged(criteria, "visual")

    def analyze_dialog(
        self,
        *,
        student_performance: Mapping[str, Any],  # noqa: ARG002  the interface
        conversation_context: Mapping[str, Any],  # noqa: ARG002
        criteria: Sequence[str],
        instruction_md: str,  # noqa: ARG002
    ) -> FeedbackResult:
        return self._judged(criteria, "text")

    def _judged(self, criteria: Sequence[str], modality: str) -> FeedbackResult:
        self._scene.meet(mark_in(criteria), "feedback")
        results = [{"criterion": each, "score": 7, "max_score": 10, "explanation_md": "Weil."} for each in criteria]
        analysis = {"schema": "criteria.v2", "score": 4, "criteria_results": results}
        return FeedbackResult("Gut gelungen.", analysis, "parsed_structured", [TokenUsageEvent("feedback", modality)])


def mark_in(criteria: Sequence[str]) -> str:
    return criteria[0].split()[-1]


def read_text(mark: str) -> str:
    """Return the text that the vision adapter reads on the page with this mark."""
    return f"Gelesen: {mark}"


def build() -> Both:
    return Both()
