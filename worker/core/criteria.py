"""criteria.v2: the document that says how a submission met each criterion."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_SCORE = 10
MAX_TOTAL = 5


class CriterionResult(BaseModel):
    """One criterion as a model answered it; a score out of range is clamped, not refused."""

    model_config = ConfigDict(extra="ignore")

    criterion: str
    score: int
    explanation_md: str


class Answer(BaseModel):
    """What a model may answer before it is brought into range and order."""

    model_config = ConfigDict(extra="ignore")

    schema_: Annotated[Literal["criteria.v2"], Field(alias="schema")] = "criteria.v2"
    score: int = 0
    criteria_results: list[CriterionResult]
    feedback_md: Annotated[str, Field(min_length=1)]


class AnswerError(ValueError):
    """The answer is not a document for these criteria. Says what is wrong, never what was answered."""


def document_schema(criteria: Sequence[str]) -> dict[str, Any]:
    """The JSON schema a model's answer is held to. No length bounds: they make grammar compilers fail (ollama.md 6.2)."""
    result = {
        "type": "object",
        "properties": {
            "criterion": {"type": "string", **({"enum": list(criteria)} if criteria else {})},
            "explanation_md": {"type": "string"},
            "score": {"type": "integer", "minimum": 0, "maximum": MAX_SCORE},
            "max_score": {"const": MAX_SCORE},
        },
        "required": ["criterion", "explanation_md", "score", "max_score"],
    }
    properties = {
        "schema": {"const": "criteria.v2"},
        "criteria_results": {"type": "array", "items": result, "minItems": len(criteria), "maxItems": len(criteria)},
        "feedback_md": {"type": "string"},
        "score": {"type": "integer", "minimum": 0, "maximum": MAX_TOTAL},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def parse_answer(text: str) -> Answer:
    """Raises AnswerError."""
    try:
        return Answer.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise AnswerError(f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['type']}") from None


def analysis(answer: Answer, criteria: Sequence[str]) -> dict[str, Any]:
    """criteria.v2: one result per criterion in the given order, scores in range. Raises AnswerError where one is missing."""
    found = {result.criterion.strip(): result for result in reversed(answer.criteria_results)}
    results = [_result(criterion, found.get(criterion.strip())) for criterion in criteria]
    return {"schema": "criteria.v2", "score": _total([r["score"] for r in results], answer.score), "criteria_results": results}


def _result(criterion: str, found: CriterionResult | None) -> dict[str, Any]:
    if found is None:
        raise AnswerError("criteria_results: missing criterion")
    return {
        "criterion": criterion,
        "score": max(0, min(MAX_SCORE, found.score)),
        "max_score": MAX_SCORE,
        "explanation_md": found.explanation_md,
    }


def _total(scores: Sequence[int], own_score: int) -> int:
    """round(5 · Σ score / Σ max_score) as the platform does; the model's own score where there are no criteria."""
    if not scores:
        return max(0, min(MAX_TOTAL, own_score))
    return round(MAX_TOTAL * sum(scores) / (MAX_SCORE * len(scores)))
