"""The usage event of one call: what the server says about tokens. Nothing is estimated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from worker.core.usage import MAX_TOKENS, UsageEvent
from worker.ollama.stream import StreamedAnswer

OnUsage = Callable[[UsageEvent], None]
Stage = Literal["ocr", "feedback"]
CallKind = Literal["primary", "repair", "no_criteria"]


def ignore_usage(_event: UsageEvent) -> None:
    """An `on_usage` for callers outside of a worker."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """Reason for a request, in the platform's words."""

    stage: Stage
    call_kind: CallKind = "primary"


FEEDBACK = Purpose("feedback")


@contextmanager
def recorded(answer: StreamedAnswer, model: str, purpose: Purpose, on_usage: OnUsage, *, has_image: bool) -> Iterator[None]:
    """Record the answer of the call in the block, whole or not. A call without an answer costs no tokens."""
    try:
        yield
    finally:
        if answer.has_begun:
            on_usage(_event(answer, model, purpose, has_image=has_image))


def _event(answer: StreamedAnswer, model: str, purpose: Purpose, *, has_image: bool) -> UsageEvent:
    """An answer that was cut off has no numbers, because they come with its last line."""
    read, written = map(_tokens, answer.counts)
    total = _tokens(read + written) if read and written else None
    is_known = bool(read or written)
    return UsageEvent(
        uuid4(),
        model,
        purpose.stage,
        "visual" if has_image else "text",
        purpose.call_kind,
        is_known,
        read,
        written,
        total,
        None if is_known else "missing_provider_usage",
    )


def _tokens(count: int) -> int | None:
    """None for a count that the server omitted, and for one that cannot be right."""
    return count if 0 < count <= MAX_TOKENS else None
