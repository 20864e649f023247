"""Tokens that a model's answer has cost, as the platform records them."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter, ValidationError

MAX_EVENTS = 1000  # of one job: a repair for each stage of each page is far less
MAX_TOKENS = 2**31 - 1  # the column's type is integer

Tokens = Annotated[int, Field(strict=True, ge=0, le=MAX_TOKENS)] | None


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One real answer of a model. Nothing is estimated: an answer without numbers is recorded as unknown.

    `event_key` makes a repeated write harmless.
    """

    event_key: UUID
    model: Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]
    stage: Literal["ocr", "analysis", "feedback"]
    modality: Literal["text", "visual"]
    call_kind: Literal["primary", "repair", "no_criteria"]
    usage_known: Annotated[bool, Field(strict=True)]
    input_tokens: Tokens = None
    output_tokens: Tokens = None
    total_tokens: Tokens = None
    unknown_reason: Literal["missing_provider_usage"] | None = None

    @property
    def is_consistent(self) -> bool:
        """Report whether the database's checks accept the numbers: known with at least one, unknown with none and the reason."""
        has_numbers = any(each is not None for each in (self.input_tokens, self.output_tokens, self.total_tokens))
        return self.usage_known == has_numbers == (self.unknown_reason is None)


_EVENT: TypeAdapter[UsageEvent] = TypeAdapter(UsageEvent)


@dataclass(frozen=True, slots=True)
class Usage:
    """The valid events, each key once, and the number of the others."""

    events: tuple[UsageEvent, ...] = ()
    rejected: int = 0


def usage_of(offered: object) -> Usage:
    """Return an adapter's `usage_events`, which may be anything. An event that the database would refuse costs no result."""
    listed = list(offered)[:MAX_EVENTS] if isinstance(offered, Iterable) and not isinstance(offered, str | bytes) else []
    events: dict[UUID, UsageEvent] = {}
    for each in listed:
        event = _validated(each)
        if event is not None:
            events.setdefault(event.event_key, event)
    valid = sum(_validated(each) is not None for each in listed)
    return Usage(tuple(events.values()), len(listed) - valid)


def _validated(offered: object) -> UsageEvent | None:
    values = {each.name: getattr(offered, each.name) for each in fields(UsageEvent) if hasattr(offered, each.name)}
    try:
        event = _EVENT.validate_python(values)
    except ValidationError:
        return None
    return event if event.is_consistent else None
