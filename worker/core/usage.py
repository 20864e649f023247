"""Tokens that a model's answer has cost, as the platform records them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter

MAX_EVENTS = 1000  # of one job: a repair for each stage of each page is far less
MAX_TOKENS = 2**31 - 1  # the column's type is integer

Tokens = Annotated[int, Field(strict=True, ge=0, le=MAX_TOKENS)] | None


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One real answer of a model. Nothing is estimated: an answer without numbers is recorded as unknown.

    `event_key` makes a repeated write harmless.
    """

    event_key: UUID
    model: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
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

    def as_json(self) -> dict[str, Any]:
        """Return the event as record_usage.sql and a kept answer have it."""
        return asdict(self) | {"event_key": str(self.event_key)}


_EVENT: TypeAdapter[UsageEvent] = TypeAdapter(UsageEvent)


@dataclass(frozen=True, slots=True)
class Usage:
    """The valid events, each key once, and the number of the others."""

    events: tuple[UsageEvent, ...] = ()
    rejected: int = 0


def usage_of(offered: object) -> Usage:
    """Return an adapter's `usage_events`, which may be anything, or those of a kept answer.

    An event that the database would refuse costs no result. Anything but a list counts as one such event.
    """
    try:
        listed = [] if offered is None else _listed(offered)
    except Exception:  # noqa: BLE001  an adapter's generator may raise anything
        return Usage(rejected=1)
    found = [_validated(each) for each in listed]
    events: dict[UUID, UsageEvent] = {}
    for event in found:
        if event is not None:
            events.setdefault(event.event_key, event)
    return Usage(tuple(events.values()), found.count(None))


def _listed(offered: object) -> list[object]:
    if isinstance(offered, Iterable) and not isinstance(offered, str | bytes | Mapping):
        return list(islice(offered, MAX_EVENTS))
    raise TypeError(type(offered).__name__)


def _validated(offered: object) -> UsageEvent | None:
    try:
        event = _EVENT.validate_python(offered if isinstance(offered, UsageEvent) else _values(offered))
    except Exception:  # noqa: BLE001  a property of an adapter's event may raise anything
        return None
    return event if event.is_consistent else None


def _values(offered: object) -> dict[str, Any]:
    names = [each.name for each in fields(UsageEvent)]
    if isinstance(offered, Mapping):
        return {name: offered[name] for name in names if name in offered}
    return {name: getattr(offered, name) for name in names if hasattr(offered, name)}
