"""Counts tokens as the platform's adapters do: in `usage_events` of results and exceptions. PLATFORM_USAGE chooses the events."""

import os
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4


class FeedbackTransientError(Exception):
    def __init__(self, message: str, usage_events: list[Any]) -> None:
        super().__init__(message)
        self.usage_events = usage_events


@dataclass
class TokenUsageEvent:
    """A class of this package, with a field that the platform does not store."""

    stage: str = "analysis"
    modality: str = "text"
    event_key: str = field(default_factory=lambda: str(uuid4()))
    model: str = "mistral-small"
    call_kind: str = "primary"
    usage_known: bool = True
    input_tokens: int | None = 10
    output_tokens: int | None = 5
    total_tokens: int | None = 15
    unknown_reason: str | None = None
    error_code: str | None = None


@dataclass
class VisionResult:
    usage_events: list[Any]
    text_md: str = "read"
    raw_metadata: dict[str, Any] | None = None


@dataclass
class FeedbackResult:
    usage_events: Any
    analysis_json: dict[str, Any]
    feedback_md: str = "well done"
    parse_status: str | None = None


class Adapter:
    def __init__(self, behaviour: str) -> None:
        self.behaviour, self.tries = behaviour, 0

    def extract(self, *, submission: dict[str, Any], job_payload: dict[str, Any]) -> VisionResult:  # noqa: ARG002  the interface
        return VisionResult([TokenUsageEvent("ocr", "visual")])

    def analyze(self, *, text_md: str, criteria: list[str]) -> FeedbackResult:  # noqa: ARG002  the interface
        self.tries += 1
        events: list[Any] = [TokenUsageEvent(), TokenUsageEvent("feedback")]
        if self.behaviour == "fails once" and self.tries == 1:
            raise FeedbackTransientError("timeout", events[:1])
        return FeedbackResult(self.offered(events), analysis_of(criteria))

    def offered(self, events: list[Any]) -> Any:
        match self.behaviour:
            case "spoilt":
                return [*events, TokenUsageEvent("thinking"), TokenUsageEvent("feedback", usage_known=False), None]
            case "nonsense":
                return 7
        return events


def analysis_of(criteria: list[str]) -> dict[str, Any]:
    results = [{"criterion": each, "score": 6, "max_score": 10, "explanation_md": "because"} for each in criteria]
    return {"schema": "criteria.v2", "score": 3, "criteria_results": results} if criteria else {}


def build() -> Adapter:
    return Adapter(os.environ.get("PLATFORM_USAGE", ""))
