"""Expectations of the platform's pages, export and teachers' view of a submission, checked on every result of a test.

The rules are the readers' and not the worker's: no function of the worker is called here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

SCHEMA: Final = "criteria.v2"
MAX_SCORE: Final = 10
WITHOUT_TEXT: Final = frozenset({"visual_direct", "dialog"})
FAILURES: Final = frozenset(
    {"vision_failed", "feedback_failed", "feedback_invalid_analysis", "input_corrupt", "input_unsupported", "input_too_large"}
)
CODE: Final = re.compile(r"[a-z0-9_]{1,64}|missing_[A-Z_]{1,56}")  # the second form has the name of a variable
ENDED: Final[LiteralString] = """
    select submission.id, submission.kind, submission.text_body, submission.analysis_status, submission.analysis_json,
        submission.feedback_md, submission.error_code,
        submission.internal_metadata as metadata, submission.vision_last_error, submission.feedback_last_error,
        coalesce(finish.payload, job.payload) as payload
    from learning_submissions as submission
    left join audit_finishes as finish on finish.submission_id = submission.id
    left join learning_submission_jobs as job on job.submission_id = submission.id
    where submission.analysis_status in ('completed', 'failed')
        and exists (select from audit_results where audit_results.submission_id = submission.id)
"""


def unreadable_results(connection: psycopg.Connection[Any]) -> list[str]:
    """Return a line for each fault of a result in an audited database."""
    return [f"{submission_id}: {fault}" for submission_id, fault in faults_of_results(connection)]


def faults_of_results(connection: psycopg.Connection[Any]) -> list[tuple[UUID, str]]:
    """Return each fault of a result in an audited database, with its submission."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(ENDED).fetchall()
    return [(row["id"], fault) for row in rows for fault in faults_in(row, criteria_in(row["payload"]))]


def criteria_in(payload: object) -> Sequence[str] | None:
    """Return the criteria of the job. None if they are not known, as in a damaged payload."""
    criteria = payload.get("criteria") if isinstance(payload, Mapping) else None
    return criteria if isinstance(criteria, list) and all(isinstance(each, str) for each in criteria) else None


def faults_in(row: Mapping[str, Any], criteria: Sequence[str] | None) -> list[str]:
    """Return what a reader would show wrongly. `criteria` None: any are right."""
    if row["analysis_status"] == "failed":
        return list(_of_failure(row))
    return [*_of_completed(row), *_of_analysis(row["analysis_json"], criteria)]


def _of_failure(row: Mapping[str, Any]) -> Iterator[str]:
    if row["error_code"] not in FAILURES:
        yield f"a failed submission has the code {row['error_code']}"
    for column in ("vision_last_error", "feedback_last_error"):
        if row[column] is not None and not CODE.fullmatch(row[column]):
            yield f"{column} is a text and no code"
    if not (row["vision_last_error"] or row["feedback_last_error"]):
        yield "a failed submission has no reason"


def _of_completed(row: Mapping[str, Any]) -> Iterator[str]:
    if not (row["feedback_md"] or "").strip():
        yield "the feedback is empty"
    if row["error_code"] is not None:
        yield f"a completed submission has the code {row['error_code']}"
    has_text = row["text_body"] is not None
    payload = row["payload"] if isinstance(row["payload"], Mapping) else {}
    if has_text != _is_with_text(row["kind"], payload, row["metadata"]):
        yield "a text of a mode that has none" if has_text else "no text of a mode that has one"


def _is_with_text(kind: str, payload: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Report whether the mode has a text. Without a word for it, the kind of the task decides about a picture."""
    if kind in {"text", "dialog"}:
        return kind == "text"
    word = str(payload.get("analysis_mode") or metadata.get("analysis_mode") or "").lower()
    return word not in WITHOUT_TEXT and (bool(word) or payload.get("task_kind") not in {"native", "visual"})


def _of_analysis(analysis: object, criteria: Sequence[str] | None) -> Iterator[str]:
    if analysis == {} and not criteria:
        return
    if not isinstance(analysis, Mapping) or analysis.keys() != {"schema", "score", "criteria_results"}:
        yield "the analysis has other keys than schema, score and criteria_results, or none for its criteria"
        return
    results = analysis["criteria_results"]
    if analysis["schema"] != SCHEMA or not isinstance(results, list) or not results:
        yield "the analysis is no criteria.v2 with results"
        return
    faults = [fault for result in results for fault in _of_result(result)]
    yield from faults
    if faults:
        return
    if criteria is not None and [result["criterion"] for result in results] != list(criteria):
        yield "the results are not those of the criteria in their order"
    if not _is_whole(analysis["score"]) or analysis["score"] != total([result["score"] for result in results]):
        yield f"the score is {analysis['score']} and not half of the mean, rounded half up"


def _of_result(result: object) -> Iterator[str]:
    if not isinstance(result, Mapping) or result.keys() != {"criterion", "score", "max_score", "explanation_md"}:
        yield "a result has other keys than criterion, score, max_score and explanation_md"
        return
    if result["max_score"] != MAX_SCORE or not _is_whole(result["score"]) or not 0 <= result["score"] <= MAX_SCORE:
        yield "a score is no whole number from 0 to 10 of 10"
    if not isinstance(result["criterion"], str):
        yield "a criterion is no text"
    if not isinstance(result["explanation_md"], str) or not result["explanation_md"].strip():
        yield "a score has no reason"


def total(scores: Sequence[int]) -> int:
    """Return half of the mean in whole numbers: 2.5 is 3, where Python's `round` makes it 2."""
    return (sum(scores) + len(scores)) // (2 * len(scores))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
