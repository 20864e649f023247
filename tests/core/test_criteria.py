"""criteria.v2: what a model may answer, and how its scores are brought into range, order and one number."""

import json
from typing import Any

import pytest

from worker.core.criteria import Answer, AnswerError, analysis, document_schema, parse_answer

PRIVATE = "what a pupil wrote"


def result(criterion: str, score: object = 5, explanation: str = "gut") -> dict[str, Any]:
    return {"criterion": criterion, "score": score, "max_score": 10, "explanation_md": explanation}


def document(*results: dict[str, Any], **changes: object) -> dict[str, Any]:
    whole = {"schema": "criteria.v2", "score": 3, "criteria_results": list(results), "feedback_md": "Weiter so."}
    return whole | changes


def answer(*results: dict[str, Any], **changes: object) -> Answer:
    return parse_answer(json.dumps(document(*results, **changes)))


TOTALS: dict[str, tuple[list[int], list[int], int]] = {
    "all": ([10, 10], [10, 10], 5),
    "nothing": ([0, 0], [0, 0], 0),
    "down": ([2], [2], 1),
    "up": ([4, 3], [4, 3], 2),
    "half of one is nought": ([1], [1], 0),
    "one and a half is two": ([3], [3], 2),
    "two and a half is two": ([5], [5], 2),
    "three and a half is four": ([7], [7], 4),
    "four and a half is four": ([9], [9], 4),
    "half over three": ([5, 4, 6], [5, 4, 6], 2),
    "above the range": ([99, 11], [10, 10], 5),
    "below the range": ([-1, -99], [0, 0], 0),
    "clamped before they are summed": ([99, -99], [10, 0], 2),
}


@pytest.mark.parametrize(("scores", "clamped", "total"), TOTALS.values(), ids=TOTALS.keys())
def test_scores(scores: list[int], clamped: list[int], total: int) -> None:
    """Each score is brought into 0..10, and their share of the maximum into 0..5, halves as Python rounds them."""
    criteria = [f"c{place}" for place in range(len(scores))]
    found = analysis(answer(*map(result, criteria, scores)), criteria)
    assert ([r["score"] for r in found["criteria_results"]], found["score"]) == (clamped, total)


@pytest.mark.parametrize(("own", "total"), [(0, 0), (3, 3), (5, 5), (6, 5), (-1, 0)])
def test_without_criteria(own: int, total: int) -> None:
    """Where there are no criteria the model's own score counts, brought into 0..5."""
    expected = {"schema": "criteria.v2", "score": total, "criteria_results": []}
    assert analysis(answer(score=own), []) == expected


ORDERS: dict[str, tuple[list[str], list[dict[str, Any]], list[tuple[str, int]]]] = {
    "as given": (["a", "b"], [result("a", 1), result("b", 2)], [("a", 1), ("b", 2)]),
    "turned round": (["a", "b"], [result("b", 2), result("a", 1)], [("a", 1), ("b", 2)]),
    "one too many": (["a"], [result("z", 9), result("a", 1)], [("a", 1)]),
    "the first of two answers": (["a"], [result("a", 1), result("a", 9)], [("a", 1)]),
    "asked for twice": (["a", "a"], [result("a", 1)], [("a", 1), ("a", 1)]),
    "spaces of the model": (["a"], [result(" a\n", 1)], [("a", 1)]),
    "spaces of the teacher": ([" a "], [result("a", 1)], [(" a ", 1)]),
}


@pytest.mark.parametrize(("criteria", "results", "expected"), ORDERS.values(), ids=ORDERS.keys())
def test_order(criteria: list[str], results: list[dict[str, Any]], expected: list[tuple[str, int]]) -> None:
    """There is one result for each criterion, in the given order and under the given name."""
    found = analysis(answer(*results), criteria)["criteria_results"]
    assert [(r["criterion"], r["score"]) for r in found] == expected
    assert all(r["max_score"] == 10 and r["explanation_md"] == "gut" for r in found)


@pytest.mark.parametrize("results", [[], [result("A")], [result("b")]], ids=["none", "another case", "another"])
def test_a_missing_criterion(results: list[dict[str, Any]]) -> None:
    """An answer that leaves a criterion out is no answer."""
    with pytest.raises(AnswerError, match=r"^criteria_results: missing criterion$"):
        analysis(answer(*results), ["a"])


LENIENT = {
    "no score and no schema": {"criteria_results": [], "feedback_md": "f"},
    "more than asked for": document(colour="red"),
    "score as text": document(result("a", "7")),
    "whole score as fraction": document(result("a", 7.0)),
}


@pytest.mark.parametrize("given", LENIENT.values(), ids=LENIENT.keys())
def test_a_lenient_reading(given: dict[str, Any]) -> None:
    """What is only untidy is read: the text of the feedback is there."""
    assert parse_answer(json.dumps(given)).feedback_md


BAD = {
    "no JSON": (PRIVATE, "document: json_invalid"),
    "cut off": (json.dumps(document(result(PRIVATE)))[:-10], "document: json_invalid"),
    "list": (json.dumps([PRIVATE]), "document: model_type"),
    "no feedback": (json.dumps({"criteria_results": []}), "feedback_md: missing"),
    "empty feedback": (json.dumps(document(feedback_md="")), "feedback_md: string_too_short"),
    "no results": (json.dumps({"feedback_md": PRIVATE}), "criteria_results: missing"),
    "another schema": (json.dumps(document(schema=PRIVATE)), "schema: literal_error"),
    "score in words": (json.dumps(document(result("a", PRIVATE))), "criteria_results.0.score: int_parsing"),
    "fraction": (json.dumps(document(result("a", 7.5))), "criteria_results.0.score: int_from_float"),
    "explanation as list": (
        json.dumps(document(result("a"), result("b") | {"explanation_md": [PRIVATE]})),
        "criteria_results.1.explanation_md: string_type",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_answer(text: str, message: str) -> None:
    """An answer that is no document is refused by place and kind of its first fault, and nothing of it is told."""
    with pytest.raises(AnswerError) as caught:
        parse_answer(text)
    assert str(caught.value) == message
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("criteria", [[], ["a"], ["a", "b", "c"]], ids=len)
def test_the_schema_asks_for_each_criterion(criteria: list[str]) -> None:
    """The schema holds a model to one result for each criterion, by name, and bounds no text, as that breaks the grammar."""
    schema = document_schema(criteria)
    results = schema["properties"]["criteria_results"]
    assert (results["minItems"], results["maxItems"]) == (len(criteria), len(criteria))
    assert results["items"]["properties"]["criterion"].get("enum", []) == criteria
    assert schema["required"] == list(schema["properties"])
    assert "Length" not in json.dumps(schema)
