"""Usage events of adapters, before they come into the settling transaction."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from uuid import UUID

import pytest

from tests.platform_adapters.counting import TokenUsageEvent
from worker.core.usage import MAX_TOKENS, UsageEvent, usage_of

UNKNOWN: dict[str, Any] = {
    "usage_known": False,
    "input_tokens": None,
    "output_tokens": None,
    "total_tokens": None,
    "unknown_reason": "missing_provider_usage",
}
BAD: dict[str, Any] = {
    "no UUID": {"event_key": "seven"},
    "a blank model": {"model": " "},
    "a model that PostgreSQL cannot store": {"model": "a\0b"},
    "an unknown stage": {"stage": "thinking"},
    "negative tokens": {"input_tokens": -1},
    "too many tokens": {"input_tokens": MAX_TOKENS + 1},
    "a boolean for a number": {"input_tokens": True},
    "known without a number": {"input_tokens": None, "output_tokens": None, "total_tokens": None},
    "unknown with numbers": {"usage_known": False, "unknown_reason": "missing_provider_usage"},
    "unknown without a reason": {**UNKNOWN, "unknown_reason": None},
    "known with a reason": {"unknown_reason": "missing_provider_usage"},
}


def test_a_foreign_event_is_taken_over() -> None:
    """Its class does not matter, its fields do. Fields without a column are left out."""
    offered = TokenUsageEvent()
    (event,) = usage_of([offered]).events
    values = asdict(offered) | {"event_key": UUID(offered.event_key)}
    del values["error_code"]
    assert event == UsageEvent(**values)


def test_an_answer_without_numbers_is_unknown() -> None:
    assert len(usage_of([TokenUsageEvent(**UNKNOWN)]).events) == 1


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_what_the_database_would_refuse_is_left_out(change: dict[str, Any]) -> None:
    """The good event beside it is kept."""
    usage = usage_of([TokenUsageEvent(**change), TokenUsageEvent()])
    assert (len(usage.events), usage.rejected) == (1, 1)


def test_an_event_counts_once() -> None:
    offered = TokenUsageEvent()
    assert usage_of([offered, offered]).events == usage_of([offered]).events


class Exploding:
    """An event of an adapter with a bug."""

    @property
    def event_key(self) -> str:
        raise ZeroDivisionError


def exploding() -> Iterator[TokenUsageEvent]:
    yield TokenUsageEvent()
    raise ZeroDivisionError


@pytest.mark.parametrize(("offered", "good"), [([Exploding(), TokenUsageEvent()], 1), (exploding(), 0), (TokenUsageEvent(), 0)])
def test_an_adapters_bug_costs_no_result(offered: object, good: int) -> None:
    """Whatever an adapter offers raises nothing, and is counted."""
    usage = usage_of(offered)
    assert (len(usage.events), usage.rejected) == (good, 1)


def test_an_event_comes_back_from_json() -> None:
    """A kept answer keeps its events in the payload."""
    (event,) = usage_of([TokenUsageEvent()]).events
    assert usage_of(json.loads(json.dumps([event.as_json()]))).events == (event,)


@pytest.mark.parametrize("offered", [None, 7, "events", b"events", {}, [None, object()]])
def test_what_is_no_list_of_events_has_none(offered: object) -> None:
    assert usage_of(offered).events == ()
