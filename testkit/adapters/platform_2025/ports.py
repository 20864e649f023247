"""Results and exceptions, which have only their names in common with the product's."""

from dataclasses import dataclass
from typing import Any


class VisionTransientError(Exception):
    """A later try may succeed."""


class VisionPermanentError(Exception):
    """No later try can succeed."""


class FeedbackTransientError(Exception):
    """A later try may succeed."""


class FeedbackPermanentError(Exception):
    """No later try can succeed."""


@dataclass(frozen=True)
class VisionResult:
    text_md: str
    raw_metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class FeedbackResult:
    feedback_md: str
    analysis_json: dict[str, Any]
    parse_status: str | None = None
