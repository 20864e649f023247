"""Both adapters as on the platform in 2026, with every method, and its functions for practice attempts, which become importable.

Each call leaves one line of JSON in the file LEDGER: the method and its arguments. PLATFORM_FAULT is the fault of each call of
the feedback adapter: the class of an exception, hang, or wait until the file LEDGER with the suffix .go exists. With
PLATFORM_SCORES the results have these scores, such as "10 4". With PLATFORM_USAGE each result has a usage event.
"""

import json
import os
import select
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from testkit.readers import total

sys.path.append(str(Path(__file__).parent))  # the platform's package is named `backend`

TEXT_MD = "# scratch.evidence.v2"


class FeedbackTransientError(Exception):
    pass


class FeedbackPermanentError(Exception):
    pass


class Platform:
    """The vision and the feedback adapter."""

    def extract(self, *, submission: dict[str, Any], job_payload: dict[str, Any]) -> SimpleNamespace:
        note("extract", submission=submission["id"], job_payload=job_payload)
        return SimpleNamespace(text_md=TEXT_MD, raw_metadata=None, usage_events=[])

    def analyze(
        self, *, text_md: str, criteria: list[str], instruction_md: str | None = None, teacher_context_md: str | None = None
    ) -> SimpleNamespace:
        return answer("analyze", criteria, text_md=text_md, instruction_md=instruction_md, teacher_context_md=teacher_context_md)

    def analyze_visual(
        self,
        *,
        submission: dict[str, Any],
        job_payload: dict[str, Any],
        criteria: list[str],
        instruction_md: str | None = None,
        teacher_context_md: str | None = None,
    ) -> SimpleNamespace:
        task = {"instruction_md": instruction_md, "teacher_context_md": teacher_context_md}
        return answer("analyze_visual", criteria, submission=submission["id"], job_payload=job_payload, **task)

    def analyze_dialog(
        self,
        *,
        student_performance: dict[str, Any],
        conversation_context: dict[str, Any],
        criteria: list[str],
        instruction_md: str,
    ) -> SimpleNamespace:
        words = {"student_performance": student_performance, "conversation_context": conversation_context}
        return answer("analyze_dialog", criteria, instruction_md=instruction_md, **words)


def answer(method: str, criteria: list[str], **given: Any) -> SimpleNamespace:
    note(method, criteria=criteria, **given)
    misbehave(os.environ.get("PLATFORM_FAULT", ""))
    scores = [int(each) for each in os.environ.get("PLATFORM_SCORES", "").split()] or [5] * len(criteria)
    results = [
        {"criterion": criterion, "score": score, "max_score": 10, "explanation_md": "because"}
        for criterion, score in zip(criteria, scores, strict=False)
    ]
    analysis = {"schema": "criteria.v2", "score": total(scores), "criteria_results": results} if criteria else {}
    events = [usage_event("visual" if method == "analyze_visual" else "text")] if "PLATFORM_USAGE" in os.environ else []
    words = {"feedback_md": f"by {method}", "analysis_json": analysis, "parse_status": "parsed_structured"}
    return SimpleNamespace(**words, usage_events=events)


def usage_event(modality: str) -> SimpleNamespace:
    key, tokens = str(uuid4()), {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    kind = {"stage": "feedback", "modality": modality, "call_kind": "primary"}
    return SimpleNamespace(event_key=key, model="mistral-small", **kind, **tokens, usage_known=True, unknown_reason=None)


def misbehave(fault: str) -> None:
    match fault:
        case "FeedbackTransientError":
            raise FeedbackTransientError("timeout")
        case "FeedbackPermanentError":
            raise FeedbackPermanentError("unsupported_mime")
        case "hang":
            select.select([], [], [])
        case "wait":
            while not Path(os.environ["LEDGER"]).with_suffix(".go").exists():
                select.select([], [], [], 0.01)


def note(method: str, **given: Any) -> None:
    with Path(os.environ["LEDGER"]).open("a") as file:
        file.write(json.dumps({"method": method, **given}, default=str) + "\n")


def build() -> Platform:
    return Platform()
