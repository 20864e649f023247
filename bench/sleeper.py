"""An adapter that sleeps for the number of seconds in the text, to measure the time between jobs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Slept:
    feedback_md: str = "slept"
    analysis_json: dict[str, Any] = field(default_factory=lambda: {"schema": "criteria.v2", "score": 0, "criteria_results": []})
    parse_status: str = "slept"


class Sleeper:
    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> Slept:  # noqa: ARG002  the interface
        time.sleep(float(text_md))
        return Slept()


def build() -> Sleeper:
    return Sleeper()
