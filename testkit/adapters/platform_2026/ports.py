"""Results, exceptions and events, which have only their names in common with the product's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4


@dataclass(frozen=True)
class TokenUsageEvent:
    event_key: str
    model: str
    stage: str
    modality: str
    call_kind: str
    usage_known: bool
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    unknown_reason: str | None
    error_code: str | None = None

    @classmethod
    def of(cls, usage: dict[str, int] | None, *, model: str, stage: str, modality: str, call_kind: str) -> "TokenUsageEvent":
        known = usage or {}
        numbers = known.get("prompt_tokens"), known.get("completion_tokens"), known.get("total_tokens")
        reason = None if usage else "missing_provider_usage"
        return cls(str(uuid4()), model, stage, modality, call_kind, bool(usage), *numbers, reason)


class AdapterError(Exception):
    """An error with the events of the answers before it."""

    def __init__(self, code: str, usage_events: Sequence[TokenUsageEvent] = ()) -> None:
        super().__init__(code)
        self.usage_events = list(usage_events)


class VisionError(AdapterError):
    """An error of reading."""


class VisionTransientError(VisionError):
    """A later try may succeed."""


class VisionPermanentError(VisionError):
    """No later try can succeed."""


class FeedbackError(AdapterError):
    """An error of feedback."""


class FeedbackTransientError(FeedbackError):
    """A later try may succeed."""


class FeedbackPermanentError(FeedbackError):
    """No later try can succeed."""


class FeedbackInvalidAnalysisError(FeedbackPermanentError):
    """The analysis was of no use, also after its repair."""


@dataclass(frozen=True)
class VisionResult:
    text_md: str
    raw_metadata: dict[str, Any] | None = None
    usage_events: list[TokenUsageEvent] = field(default_factory=list)


@dataclass(frozen=True)
class FeedbackResult:
    feedback_md: str
    analysis_json: dict[str, Any]
    parse_status: str | None = None
    usage_events: list[TokenUsageEvent] = field(default_factory=list)
