"""Adapters that invent their results, for trying the queue without a model. `check` and `status` show a warning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from worker.core.criteria import MAX_SCORE, CriteriaDocument, Judgement, analysis

_EXPLANATION = "Platzhalter: kein Modell hat diese Abgabe gelesen."


@dataclass(frozen=True, slots=True)
class StubReading:
    text_md: str = "Platzhalter: kein Modell hat diese Seite gelesen."
    raw_metadata: Mapping[str, Any] = field(default_factory=lambda: {"adapter": "stub"})


@dataclass(frozen=True, slots=True)
class StubFeedback:
    analysis_json: Mapping[str, Any]
    feedback_md: str = "**Platzhalter** ohne Modell: Diese Rückmeldung ist nicht echt."
    parse_status: str = "stub"


class Stub:
    """Both adapters in one class, for every mode. The result is always the same."""

    program_files: ClassVar[tuple[str, ...]] = ()  # none, as the adapters for Ollama

    def extract(self, *, submission: Mapping[str, Any], job_payload: Mapping[str, Any]) -> StubReading:  # noqa: ARG002  the interface
        return StubReading()

    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> StubFeedback:  # noqa: ARG002  the interface
        return _invented(criteria)

    def analyze_visual(
        self,
        *,
        submission: Mapping[str, Any],  # noqa: ARG002  the interface
        job_payload: Mapping[str, Any],  # noqa: ARG002
        criteria: Sequence[str],
    ) -> StubFeedback:
        return _invented(criteria)

    def analyze_dialog(
        self,
        *,
        student_performance: Mapping[str, Any],  # noqa: ARG002  the interface
        conversation_context: Mapping[str, Any],  # noqa: ARG002
        criteria: Sequence[str],
        instruction_md: str,  # noqa: ARG002
    ) -> StubFeedback:
        return _invented(criteria)


def _invented(criteria: Sequence[str]) -> StubFeedback:
    judgements = tuple(Judgement(MAX_SCORE // 2, _EXPLANATION) for _ in criteria)
    return StubFeedback(analysis(CriteriaDocument(judgements, _EXPLANATION), criteria, _EXPLANATION).criteria_v2)


def build() -> Stub:
    return Stub()
