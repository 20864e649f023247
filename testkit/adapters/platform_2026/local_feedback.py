"""Feedback in the platform's three modes: an analysis, one repair of it, and a synthesis."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from testkit.adapters.platform_2026.files import picture_of
from testkit.adapters.platform_2026.ports import (
    FeedbackInvalidAnalysisError,
    FeedbackPermanentError,
    FeedbackResult,
    FeedbackTransientError,
)
from testkit.adapters.platform_2026.server import Conversation


class Adapter:
    def analyze(
        self,
        *,
        text_md: str,
        criteria: Sequence[str],
        instruction_md: str | None = None,
        teacher_context_md: str | None = None,
    ) -> FeedbackResult:
        conversation = Conversation.begin("AI_TEXT_MODEL", "text", FeedbackTransientError)
        return _assessed(conversation, criteria, f"{instruction_md} | {teacher_context_md} | {text_md}")

    def analyze_visual(
        self,
        *,
        submission: Mapping[str, Any],
        job_payload: Mapping[str, Any],
        criteria: Sequence[str],
        instruction_md: str | None = None,
        teacher_context_md: str | None = None,
    ) -> FeedbackResult:
        del job_payload
        picture = picture_of(submission, FeedbackTransientError, FeedbackPermanentError)
        conversation = Conversation.begin("AI_VISUAL_MODEL", "visual", FeedbackPermanentError)
        conversation.transient = FeedbackTransientError
        return _assessed(conversation, criteria, f"{instruction_md} | {teacher_context_md} | {len(picture)} bytes")

    def analyze_dialog(
        self,
        *,
        student_performance: Mapping[str, Any],
        conversation_context: Mapping[str, Any],
        criteria: Sequence[str],
        instruction_md: str,
    ) -> FeedbackResult:
        del conversation_context
        words = " / ".join(each["text"] for each in student_performance["messages"])
        conversation = Conversation.begin("AI_TEXT_MODEL", "text", FeedbackTransientError)
        return _assessed(conversation, criteria, f"{instruction_md} | {words}")


def _assessed(conversation: Conversation, criteria: Sequence[str], prompt: str) -> FeedbackResult:
    if not criteria:
        feedback_md = conversation.ask(prompt, stage="feedback", call_kind="no_criteria")
        return FeedbackResult(feedback_md, {}, "skipped", conversation.events)
    scores = _scores(conversation.ask(prompt, stage="analysis"), len(criteria))
    status = "parsed_structured" if scores else "repaired_structured"
    scores = scores or _scores(conversation.ask(prompt, stage="analysis", call_kind="repair"), len(criteria))
    if not scores:
        raise FeedbackInvalidAnalysisError("feedback_invalid_analysis", conversation.events)
    feedback_md = conversation.ask(prompt, stage="feedback")
    return FeedbackResult(feedback_md, _analysis(criteria, scores), status, conversation.events)


def _scores(answer: str, count: int) -> list[int]:
    """The scores of a usable answer, which is a JSON list of as many whole numbers as there are criteria. Else none."""
    try:
        scores = json.loads(answer)
    except ValueError:
        return []
    is_usable = isinstance(scores, list) and len(scores) == count and all(type(each) is int for each in scores)
    return scores if is_usable else []


def _analysis(criteria: Sequence[str], scores: Sequence[int]) -> dict[str, Any]:
    results = [
        {"criterion": name, "score": score, "max_score": 10, "explanation_md": "because"}
        for name, score in zip(criteria, scores, strict=True)
    ]
    return {"schema": "criteria.v2", "score": int(sum(scores) / len(scores) / 2 + 0.5), "criteria_results": results}


def build() -> Adapter:
    return Adapter()
