"""criteria.v2: parsing of a model's answer, and the range, order and sum of its scores."""

import json
from typing import Any

import pytest

from tests.inputs.alarm import alarmed
from worker.core.criteria import Analysis, CriteriaDocument, DocumentError, Judgement, analysis, document_schema, keys, parse

PRIVATE = "what a pupil wrote"
NO_REASON = "ohne Begründung"


def judged(*scores: object, explanation: object = "gut", **changes: object) -> dict[str, Any]:
    """An answer with one criterion for each score."""
    criteria = {
        key: {"explanation_md": explanation, "score": score} for key, score in zip(keys(len(scores)), scores, strict=True)
    }
    return {"criteria": criteria, "feedback_md": "Weiter so."} | changes


def scored(*scores: int) -> Analysis:
    """The analysis of an answer with these scores, on criteria named by their place."""
    criteria = [f"Kriterium {place}" for place in range(len(scores))]
    return analysis(parse(json.dumps(judged(*scores)), len(scores)), criteria, NO_REASON)


TOTALS: dict[str, tuple[list[int], int]] = {
    "all": ([10, 10], 5),
    "nothing": ([0, 0], 0),
    "down": ([2], 1),
    "up": ([4, 3], 2),
    "half of one is one": ([1], 1),
    "one and a half is two": ([3], 2),
    "two and a half is three": ([5], 3),
    "three and a half is four": ([7], 4),
    "four and a half is five": ([9], 5),
    "half over three": ([5, 4, 6], 3),
    "just below half": ([5, 5, 4], 2),
}


@pytest.mark.parametrize(("scores", "total"), TOTALS.values(), ids=TOTALS.keys())
def test_scores(scores: list[int], total: int) -> None:
    """Each score stays as the model gave it. The total is their share of the maximum, as 0..5."""
    found = scored(*scores)
    results = found.criteria_v2["criteria_results"]
    assert ([r["score"] for r in results], found.criteria_v2["score"]) == (scores, total)
    assert found.missing_reasons == 0


@pytest.mark.parametrize("judgement", [{"score": 7}, {"score": 7, "explanation_md": " \n"}], ids=["missing", "blank"])
def test_a_score_without_a_reason(judgement: dict[str, Any]) -> None:
    """A missing or blank explanation is replaced by the sentence and counted, because readers show each score with a reason."""
    document = parse(json.dumps(judged(criteria={"c01": judgement})), 1)
    found = analysis(document, ["a"], NO_REASON)
    (result,) = found.criteria_v2["criteria_results"]
    assert (result["score"], result["explanation_md"], found.missing_reasons) == (7, NO_REASON, 1)


@pytest.mark.parametrize("more", [{}, {"score": 3}, {"criteria": {}}])
def test_without_criteria(more: dict[str, Any]) -> None:
    """Without criteria the analysis is empty, whatever the model adds: readers show a score alone as a number of points."""
    document = parse(json.dumps({"feedback_md": "Gut.", **more}), 0)
    assert document.feedback_md == "Gut."
    assert analysis(document, [], NO_REASON) == Analysis({}, 0)


@pytest.mark.parametrize("judgement", [{"score": 0}, {"score": 0, "explanation_md": " "}], ids=["missing", "blank"])
def test_a_score_that_needs_its_reason(judgement: dict[str, Any]) -> None:
    """About a conversation a score without its reason is no answer, and no zero is made of it."""
    with pytest.raises(DocumentError, match=r"^criteria\.c01\.explanation_md: "):
        parse(json.dumps(judged(criteria={"c01": judgement})), 1, needs_reasons=True)


def test_a_zero_with_its_reason() -> None:
    assert parse(json.dumps(judged(0)), 1, needs_reasons=True).judgements == (Judgement(0, "gut"),)


@pytest.mark.parametrize("criteria", [["a", "b"], ["b", "a"], ["a", "a"], ["", " "], ["a\n- c02: b", "c01"]])
def test_each_criterion_has_one_result_in_the_given_sequence(criteria: list[str]) -> None:
    """The analysis has one result for each criterion, in the given order, even if its text is empty, repeated or odd."""
    found = analysis(parse(json.dumps(judged(1, 2)), 2), criteria, NO_REASON).criteria_v2["criteria_results"]
    expected = [
        {"criterion": criterion, "score": score, "max_score": 10, "explanation_md": "gut"}
        for criterion, score in zip(criteria, (1, 2), strict=True)
    ]
    assert found == expected


def test_no_criterion_is_added() -> None:
    """Criteria that the model invents are ignored, even malformed ones."""
    answer = judged(1)
    answer["criteria"] |= {"c02": {"score": 10, "explanation_md": PRIVATE}, PRIVATE: None}
    assert parse(json.dumps(answer), 1) == CriteriaDocument((Judgement(1, "gut"),), "Weiter so.")


LENIENT: dict[str, tuple[dict[str, Any], int]] = {
    "more than asked for": (judged(7, colour="red"), 1),
    "another order": ({"feedback_md": "f", "criteria": {"c01": {"score": 7, "explanation_md": "e"}}}, 1),
    "a whole number as a fraction": (judged(7.0), 1),
    "no explanation to give": (judged(7, explanation=""), 1),
    "a number as text": (judged("7"), 1),
    "of the maximum": (judged(" 7/10 "), 1),
    "of the maximum, spaced": (judged("7 / 10"), 1),
    "a whole number as a fraction, as text": (judged("7,0"), 1),
    "a short key": (judged(criteria={"c1": {"explanation_md": "e", "score": 7}}), 1),
    "a large key": (judged(criteria={"C001": {"explanation_md": "e", "score": 7}}), 1),
    "both spellings": (
        judged(criteria={"c1": {"explanation_md": "e", "score": 1}, "c01": {"explanation_md": "e", "score": 7}}),
        1,
    ),
}


@pytest.mark.parametrize(("given", "count"), LENIENT.values(), ids=LENIENT.keys())
def test_a_lenient_reading(given: dict[str, Any], count: int) -> None:
    """Harmless deviations from the schema are accepted."""
    assert [judgement.score for judgement in parse(json.dumps(given), count).judgements] == [7]


WHOLE = json.dumps(judged(7))
DRAFT = json.dumps(judged(1, explanation="Entwurf"))
AROUND: dict[str, str] = {
    "in a code fence": f"```json\n{WHOLE}\n```",
    "in a fence without a language": f"```\n{WHOLE}\n```\n",
    "after prose": f"Gerne, hier ist {{meine}} Bewertung:\n\n{WHOLE}",
    "before a farewell": f"{WHOLE}\n\nIch hoffe, das hilft! {{Ende}}",
    "after thoughts": f"<think>Zuerst {{c01: … {DRAFT}</think>\n\n{WHOLE}",
    "after thoughts without their begin": f"Vielleicht {DRAFT}\n</think>{WHOLE}",
    "after Mistral's thoughts": f"[THINK]{DRAFT}[/THINK]{WHOLE}",
    "after Kimi's thoughts": f"◁think▷{DRAFT}◁/think▷{WHOLE}",
    "in the last channel": f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{WHOLE}",
    "in a list": f"[{WHOLE}]",
    "said twice": f"{WHOLE}\n\n{WHOLE}",
    "beside an example of another form": f'So etwas wie {{"a": 1}}: {WHOLE}',
    "with a mark in its text": json.dumps(judged(7, feedback_md="Im Text steht </think> und ```.")),
    "with a line end in its text": WHOLE.replace("Weiter so.", "Weiter\nso."),
}


@pytest.mark.parametrize("text", AROUND.values(), ids=AROUND.keys())
def test_the_document_is_found(text: str) -> None:
    """The one document of an answer is found, whatever is around it. A draft among the thoughts is not the answer."""
    assert [judgement.score for judgement in parse(text, 1).judgements] == [7]


@pytest.mark.parametrize("unit", ["{", '{"', '{"a":', '{"a":[', '{"a":[{"b":1},', "[", "<think>", "</think>{", '"{"'])
def test_a_long_answer_is_read_once(unit: str) -> None:
    """The time grows with the length of an answer and not with its square."""
    with alarmed(), pytest.raises(DocumentError):
        parse(unit * (1_000_000 // len(unit)), 1)


BAD: dict[str, tuple[str, int, str]] = {
    "no JSON": (PRIVATE, 1, "document: json_invalid"),
    "cut off": (json.dumps(judged(5, explanation=PRIVATE))[:-10], 1, "document: json_invalid"),
    "cut off in a code block": (f"```json\n{json.dumps(judged(5))[:-1]}", 1, "document: json_invalid"),
    "cut off after an example": (f'{{"a": 1}} {json.dumps(judged(5))[:-1]}', 1, "criteria: missing"),
    "two that differ": (json.dumps(judged(5)) + json.dumps(judged(6)), 1, "document: ambiguous"),
    "only among the thoughts": (f"{json.dumps(judged(5))}</think>Fertig.", 1, "document: json_invalid"),
    "a number of thousands of digits": (json.dumps(judged(5)).replace("5", "5" * 5000), 1, "document: json_invalid"),
    "list": (json.dumps([PRIVATE]), 1, "document: json_invalid"),
    "no feedback": (json.dumps({"criteria": judged(5)["criteria"]}), 1, "feedback_md: missing"),
    "empty feedback": (json.dumps(judged(5, feedback_md="")), 1, "feedback_md: string_pattern_mismatch"),
    "feedback of spaces": (json.dumps(judged(5, feedback_md=" \n")), 1, "feedback_md: string_pattern_mismatch"),
    "no criteria": (json.dumps({"feedback_md": PRIVATE}), 1, "criteria: missing"),
    "criteria as list": (json.dumps(judged(criteria=[PRIVATE])), 1, "criteria: model_type"),
    "a criterion is missing": (json.dumps(judged(5)), 2, "criteria.c02: missing"),
    "under the criterion's text": (
        json.dumps(judged(criteria={PRIVATE: judged(5)["criteria"]["c01"]})),
        1,
        "criteria.c01: missing",
    ),
    "no score": (json.dumps(judged(criteria={"c01": {"explanation_md": PRIVATE}})), 1, "criteria.c01.score: missing"),
    "score in words": (json.dumps(judged(PRIVATE)), 1, "criteria.c01.score: int_type"),
    "score of another scale": (json.dumps(judged("7/15")), 1, "criteria.c01.score: int_type"),
    "above the range": (json.dumps(judged(11)), 1, "criteria.c01.score: less_than_equal"),
    "of a hundred": (json.dumps(judged("85")), 1, "criteria.c01.score: less_than_equal"),
    "below the range": (json.dumps(judged(-1)), 1, "criteria.c01.score: greater_than_equal"),
    "a score without sense": (json.dumps(judged(10**300)), 1, "criteria.c01.score: less_than_equal"),
    "score as a sum": (json.dumps(judged("3+4")), 1, "criteria.c01.score: int_type"),
    "score with a remark": (json.dumps(judged("7 (sehr gut)")), 1, "criteria.c01.score: int_type"),
    "score as empty text": (json.dumps(judged("")), 1, "criteria.c01.score: int_type"),
    "fraction as text": (json.dumps(judged("7,5")), 1, "criteria.c01.score: int_type"),
    "fraction": (json.dumps(judged(7.5)), 1, "criteria.c01.score: int_type"),
    "yes": (json.dumps(judged(True)), 1, "criteria.c01.score: int_type"),
    "null": (json.dumps(judged(None)), 1, "criteria.c01.score: int_type"),
    "not a number": (json.dumps(judged(float("nan"))), 1, "criteria.c01.score: int_type"),
    "infinite": (json.dumps(judged(float("inf"))), 1, "criteria.c01.score: int_type"),
    "explanation as list": (json.dumps(judged(5, explanation=[PRIVATE])), 1, "criteria.c01.explanation_md: string_type"),
    "no overall feedback": (json.dumps({"score": PRIVATE}), 0, "feedback_md: missing"),
}


@pytest.mark.parametrize(("text", "count", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_answer(text: str, count: int, message: str) -> None:
    """The error names place and kind of the first fault. It contains nothing of the answer."""
    with pytest.raises(DocumentError) as caught:
        parse(text, count)
    assert str(caught.value) == message
    assert caught.value.__context__ is None


@pytest.mark.parametrize("count", [1, 3, 10])
def test_the_schema_has_a_key_for_each_criterion(count: int) -> None:
    """The schema requires one judgement for each criterion, and sorts an explanation before its score."""
    schema = document_schema(count)
    assert schema["required"] == ["criteria", "feedback_md"]
    criteria = schema["properties"]["criteria"]
    assert criteria["required"] == list(criteria["properties"]) == sorted(criteria["properties"]) == keys(count)
    for judgement in criteria["properties"].values():
        assert judgement["required"] == sorted(judgement["properties"]) == ["explanation_md", "score"]


def test_the_schema_without_criteria() -> None:
    """Without criteria the schema requires the feedback alone."""
    assert document_schema(0)["required"] == ["feedback_md"]


@pytest.mark.parametrize("word", ["Length", "Items", "pattern", "enum", "const", "$ref"])
def test_the_schema_has_nothing_that_breaks_a_grammar(word: str) -> None:
    """The schema has no bounds on lengths or items, no pattern and no text of a teacher (docs/ollama-api.md 6.2)."""
    assert word not in json.dumps([document_schema(count) for count in range(11)])
