"""Writes feedback that repeats its input, or fails as PLATFORM_FEEDBACK demands."""

import os
from typing import Any


class FeedbackTransientError(Exception):
    pass


class FeedbackPermanentError(Exception):
    pass


class Result:
    def __init__(self, feedback_md: str, criteria: list[str]) -> None:
        results = [{"criterion": each, "score": 5, "max_score": 10, "explanation_md": "Weil."} for each in criteria]
        self.feedback_md = feedback_md
        self.analysis_json: dict[str, Any] = (
            {"schema": "criteria.v2", "score": 3, "criteria_results": results} if criteria else {}
        )
        self.parse_status = "parsed"


class Adapter:
    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour

    def analyze(
        self, *, text_md: str, criteria: list[str], instruction_md: str | None = None, hints_md: str | None = None
    ) -> Result:
        fail(self.behaviour)
        result = Result(f"{instruction_md} | {hints_md} | {text_md}", criteria)
        if self.behaviour == "nan":
            result.analysis_json["score"] = float("nan")
        return result


def fail(behaviour: str) -> None:
    match behaviour:
        case "transient":
            raise FeedbackTransientError("what the pupil wrote")
        case "permanent":
            raise FeedbackPermanentError("what the pupil wrote")
        case "bug":
            raise ZeroDivisionError("what the pupil wrote")


def build() -> Adapter:
    return Adapter(os.environ.get("PLATFORM_FEEDBACK", ""))
