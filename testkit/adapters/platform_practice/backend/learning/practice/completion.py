"""The rules `gustav-practice-v1` between a result and the pupil's next date, with the interface of the platform's functions.

PRACTICE_BUG is the class of an exception that the completion raises, or `commits`, or `concealed`, which is the suppression of an
error of the database.
"""

import contextlib
import math
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

SECURE, PARTIAL = 0.85, 0.40  # least fulfillment
FIRST_STABILITY_DAYS, MAX_STABILITY_DAYS = 2.0, 36_525.0
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class State:
    """The pupil's memory of a task: stability in days, interval until the next date, and the date."""

    stability_days: float
    interval_seconds: int
    due_at: datetime


def complete_worker_practice_attempt(*, conn: Any, submission_id: str, analysis_json: dict[str, Any], feedback_md: str) -> None:
    match os.environ.get("PRACTICE_BUG"):
        case "concealed":
            with contextlib.suppress(psycopg.Error):
                conn.execute("select 1 / 0")
            return
        case "commits":
            conn.commit()
        case str(bug):
            raise {"KeyError": KeyError, "ValueError": ValueError, "SystemExit": SystemExit}[bug]("supported_initial_attempt")
    with conn.cursor() as cursor:
        cursor.execute("select * from public.learning_worker_get_practice_attempt_context(%s::uuid)", (submission_id,))
        context = cursor.fetchone()
        if not context:
            return
        fulfillment = fulfillment_of(analysis_json, context["criteria"] or [])
        is_supported = context["solution_seen"] or context["support_pending"] or context["presentation_number"] == 2
        is_secure = fulfillment >= SECURE and not is_supported
        classification = "secure" if is_secure else "partial" if fulfillment >= PARTIAL else "insufficient"
        state = next_state(context, fulfillment, is_secure=is_secure, is_supported=is_supported)
        cursor.execute(
            "select public.learning_worker_complete_practice_attempt(%s::uuid, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(context["attempt_id"], fulfillment, classification, is_supported),
                *(state.stability_days, state.interval_seconds, state.due_at, context["completed_at"], feedback_md),
            ),
        )


def fail_worker_practice_attempt(*, conn: Any, submission_id: str, error_code: str) -> None:
    with conn.cursor() as cursor:
        cursor.execute("select public.learning_worker_fail_practice_attempt(%s::uuid, %s)", (submission_id, error_code))


def fulfillment_of(analysis: dict[str, Any], criteria: list[str]) -> float:
    """Return the mean of the results, one for each criterion in order."""
    results = analysis.get("criteria_results") or []
    if not criteria or [each["criterion"] for each in results] != criteria:
        raise ValueError("invalid_practice_analysis")
    if not all(each["max_score"] == 10 and 0 <= each["score"] <= 10 for each in results):
        raise ValueError("invalid_practice_analysis")
    return float(sum(each["score"] for each in results)) / (10 * len(results))


def next_state(context: dict[str, Any], fulfillment: float, *, is_secure: bool, is_supported: bool) -> State:
    stability_days, completed_at = context["previous_stability_days"], context["completed_at"]
    if stability_days is None:
        if is_supported:
            raise ValueError("supported_initial_attempt")
        return _state(FIRST_STABILITY_DAYS if is_secure else 2**fulfillment, completed_at)
    days = (completed_at - context["previous_last_attempt_at"]) / timedelta(days=1)
    if is_supported or (is_secure and days < 1):
        return State(stability_days, context["previous_interval_seconds"], context["previous_due_at"])
    recall = 1 / (1 + days / (9 * stability_days))
    if is_secure:
        return _state(stability_days * (1 + fulfillment * (1 - recall) / 0.1), completed_at)
    return _state(1 + (stability_days - 1) * fulfillment ** (2 * (1 + recall / 0.9)), completed_at)


def _state(stability_days: float, completed_at: datetime) -> State:
    held = min(max(stability_days, 1.0), MAX_STABILITY_DAYS)
    interval_seconds = math.floor(held * DAY_SECONDS + 0.5)
    return State(held, interval_seconds, completed_at + timedelta(seconds=interval_seconds))
