"""criteria.v2: the document that says how a submission met each criterion, and the one a model is asked for to make it from.

A model is asked for an object with a key for each criterion, not for a list: the grammar then leaves no way to miss, repeat or
invent one, and nothing that is known already has to be said.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model

from worker.core.outcome import storable

MAX_SCORE = 10
MAX_TOTAL = 5


@dataclass(frozen=True, slots=True)
class Judgement:
    """A model's word on one criterion. Its score may be out of range."""

    score: int
    explanation_md: str


@dataclass(frozen=True, slots=True)
class CriteriaDocument:
    """What a model answered: a judgement for each criterion, in their order. `score` counts only where there are none."""

    judgements: tuple[Judgement, ...]
    feedback_md: str
    score: int = 0


@dataclass(frozen=True, slots=True)
class Analysis:
    """A criteria.v2 document, and how many scores had to be brought into range for it."""

    criteria_v2: Mapping[str, Any]
    clamped_scores: int


class DocumentError(ValueError):
    """The answer is not a document for these criteria. Says at which of our fields and in which way, never what was answered."""


def _whole(value: object) -> object:
    """7.0 is 7, as not every model knows the difference; `true` and "7" are no numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Score = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Feedback = Annotated[str, Field(pattern=r"\S")]


class _Judgement(BaseModel):
    explanation_md: str
    score: Score


class _Overall(BaseModel):
    """Without criteria."""

    feedback_md: Feedback
    score: Score


def key(place: int) -> str:
    """Of the criterion at a place from 1: c01, c02 and on, so that they stay in order where properties are sorted by name."""
    return f"c{place:02}"


def keys(count: int) -> list[str]:
    return [key(place) for place in range(1, count + 1)]


def document_schema(count: int) -> dict[str, Any]:
    """The JSON schema that an answer on `count` criteria is held to.

    On the chat path properties come in the order of their names (ollama.md 6.2): an explanation before its score, the criteria
    before the feedback. No bounds on lengths and numbers of items, no patterns, no texts of a teacher: they make grammar
    compilers fail.
    """
    if count == 0:
        return _object({"feedback_md": {"type": "string"}, "score": _integer(MAX_TOTAL)})
    judgement = _object({"explanation_md": {"type": "string"}, "score": _integer(MAX_SCORE)})
    return _object({"criteria": _object(dict.fromkeys(keys(count), judgement)), "feedback_md": {"type": "string"}})


def parse(text: str, count: int) -> CriteriaDocument:
    """The answer to a request with `document_schema(count)`. Raises DocumentError."""
    try:
        answered = (_judged_model(count) if count else _Overall).model_validate(_loaded(text))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise DocumentError(f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['type']}") from None
    fields = answered.model_dump()
    judgements = tuple(Judgement(**fields["criteria"][name]) for name in keys(count))
    return CriteriaDocument(judgements, fields["feedback_md"], fields.get("score", 0))


def _loaded(text: str) -> object:
    """Half of a surrogate pair, which a model may well write as an escape, is no text for pydantic: it goes before."""
    try:
        return storable(json.loads(text))
    except (ValueError, RecursionError):
        raise DocumentError("document: json_invalid") from None


def analysis(document: CriteriaDocument, criteria: Sequence[str]) -> Analysis:
    """criteria.v2, one result per criterion in the given order and under the given text, scores in range."""
    given = [judgement.score for judgement in document.judgements] if criteria else [document.score]
    limit = MAX_SCORE if criteria else MAX_TOTAL
    scores = [max(0, min(limit, score)) for score in given]
    pairs = zip(criteria, scores, document.judgements, strict=True) if criteria else ()
    results = [_result(criterion, score, judgement.explanation_md) for criterion, score, judgement in pairs]
    total = _total(scores) if criteria else scores[0]
    clamped_scores = sum(score != bounded for score, bounded in zip(given, scores, strict=True))
    return Analysis({"schema": "criteria.v2", "score": total, "criteria_results": results}, clamped_scores)


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


def _integer(maximum: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": maximum}


@cache
def _judged_model(count: int) -> type[BaseModel]:
    """With criteria. Its only names are ours, so that no error can name what a model invented; anything more is not read."""
    fields: dict[str, Any] = dict.fromkeys(keys(count), (_Judgement, ...))
    return create_model("_Judged", criteria=(create_model("_Criteria", **fields), ...), feedback_md=(Feedback, ...))


def _result(criterion: str, score: int, explanation_md: str) -> dict[str, Any]:
    return {"criterion": criterion, "score": score, "max_score": MAX_SCORE, "explanation_md": explanation_md}


def _total(scores: Sequence[int]) -> int:
    """round(5 · Σ score / Σ max_score), as the platform does."""
    return round(MAX_TOTAL * sum(scores) / (MAX_SCORE * len(scores)))
