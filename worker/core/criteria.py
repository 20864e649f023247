"""criteria.v2, the platform's analysis of a submission by criteria, and the model's answer that it is made from.

The answer is an object with one key for each criterion, not a list. The grammar then prevents missing, repeated and invented
criteria, and the model does not repeat their texts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model, model_validator

from worker.core.json_object import objects_in
from worker.core.outcome import storable

MAX_SCORE = 10
MAX_TOTAL = 5
_SCORE_TEXT = re.compile(r"\s*(?P<score>[+-]?[0-9]{1,4})(?:[.,]0+)?\s*(?:/\s*(?P<maximum>[0-9]{1,4})\s*)?")
_KEY = re.compile(r"[cC]0*([1-9][0-9]?)")


@dataclass(frozen=True, slots=True)
class Judgement:
    """The model's judgement of one criterion. Its explanation may be blank."""

    score: int
    explanation_md: str


@dataclass(frozen=True, slots=True)
class CriteriaDocument:
    """The model's answer: one judgement for each criterion, in order."""

    judgements: tuple[Judgement, ...]
    feedback_md: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """A criteria.v2 document, `{}` without criteria, and the number of its scores for which the model gave no reason."""

    criteria_v2: Mapping[str, Any]
    missing_reasons: int


class DocumentError(ValueError):
    """The answer does not match these criteria. The message names the field and the kind of error, never the answer."""


def _whole(value: object) -> object:
    """Accepts 7.0, "7" and "7/10" as 7, because models write whole numbers in these ways. `true` and "sieben" are no numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    found = _SCORE_TEXT.fullmatch(value) if isinstance(value, str) else None
    return int(found["score"]) if found and int(found["maximum"] or MAX_SCORE) == MAX_SCORE else value


Score = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=MAX_SCORE)]
Prose = Annotated[str, Field(pattern=r"\S")]


class _Judgement(BaseModel):
    explanation_md: str = ""
    score: Score


class _ReasonedJudgement(_Judgement):
    """A judgement with its reason."""

    explanation_md: Prose


class _Overall(BaseModel):
    """The answer without criteria."""

    feedback_md: Prose


class _Keyed(BaseModel):
    """The judgements by key."""

    @model_validator(mode="before")
    @classmethod
    def _full_keys(cls, criteria: object) -> object:
        """Reads c1 and C01 as c01. A key in its right spelling comes first."""
        if not isinstance(criteria, dict):
            return criteria
        read = {key(int(found[1])): value for name, value in criteria.items() if (found := _KEY.fullmatch(str(name)))}
        return {**read, **criteria}


def key(place: int) -> str:
    """Key of a criterion, counted from 1: c01, c02 and so on. The zero keeps the order if keys are sorted by name."""
    return f"c{place:02}"


def keys(count: int) -> list[str]:
    return [key(place) for place in range(1, count + 1)]


def document_schema(count: int) -> dict[str, Any]:
    """The JSON schema of an answer for `count` criteria.

    Ollama's chat endpoint generates properties in the order of their names (docs/ollama-api.md 6.2): each explanation before its
    score, the criteria before the feedback. The schema has no length bounds, patterns or texts of a teacher, because they make
    grammar compilers fail.
    """
    if count == 0:
        return _object({"feedback_md": {"type": "string"}})
    judgement = _object({"explanation_md": {"type": "string"}, "score": {"type": "integer", "minimum": 0, "maximum": MAX_SCORE}})
    return _object({"criteria": _object(dict.fromkeys(keys(count), judgement)), "feedback_md": {"type": "string"}})


def parse(text: str, count: int, *, needs_reasons: bool = False) -> CriteriaDocument:
    """Parses the answer to a request with `document_schema(count)`. Raises DocumentError.

    The document may stand in a code fence, after prose or thoughts, or before a farewell. Two different ones are none, because
    one of them may be a quotation of a pupil. A score out of range is an error, because its scale is unknown: 85 is not the best
    of grades. With `needs_reasons` a missing or blank explanation is an error too.
    """
    read = [_read(found, count, needs_reasons) for found in _objects(text)]
    documents = [each for each in read if isinstance(each, CriteriaDocument)]
    if not documents:
        raise next((each for each in read if isinstance(each, DocumentError)), DocumentError("document: json_invalid"))
    if any(each != documents[0] for each in documents):
        raise DocumentError("document: ambiguous")
    return documents[0]


def _objects(text: str) -> list[dict[str, object]]:
    """Removes unpaired surrogates, which a model may write as escapes and which pydantic rejects."""
    try:
        return [storable(found) for found in objects_in(text)]
    except RecursionError:
        return []


def _read(found: dict[str, object], count: int, needs_reasons: bool) -> CriteriaDocument | DocumentError:
    try:
        answered = (_judged_model(count, needs_reasons) if count else _Overall).model_validate(found)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        return DocumentError(f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['type']}")
    fields = answered.model_dump()
    judgements = tuple(Judgement(**fields["criteria"][name]) for name in keys(count))
    return CriteriaDocument(judgements, fields["feedback_md"])


def as_json(document: CriteriaDocument) -> str:
    """Return the document in the form of the model's answer, compact."""
    judged = {key(place): asdict(judgement) for place, judgement in enumerate(document.judgements, 1)}
    fields = {"criteria": judged} if judged else {}
    return json.dumps({**fields, "feedback_md": document.feedback_md}, ensure_ascii=False, separators=(",", ":"))


def analysis(document: CriteriaDocument, criteria: Sequence[str], no_reason: str) -> Analysis:
    """The criteria.v2 document: one result per criterion, in the given order, with the given text.

    `no_reason` is the sentence in place of a blank explanation.

    Without criteria it is empty, because readers show a score without results as a number of points.
    """
    if not criteria:
        return Analysis({}, 0)
    reasons = [judgement.explanation_md for judgement in document.judgements]
    scores = [judgement.score for judgement in document.judgements]
    results = [
        _result(criterion, score, reason if reason.strip() else no_reason)
        for criterion, score, reason in zip(criteria, scores, reasons, strict=True)
    ]
    missing_reasons = sum(not reason.strip() for reason in reasons)
    return Analysis({"schema": "criteria.v2", "score": _total(scores), "criteria_results": results}, missing_reasons)


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


@cache
def _judged_model(count: int, needs_reasons: bool) -> type[BaseModel]:
    """The answer with criteria. Other keys are ignored, so that no error message contains a key that the model invented."""
    fields: dict[str, Any] = dict.fromkeys(keys(count), (_ReasonedJudgement if needs_reasons else _Judgement, ...))
    criteria = create_model("_Criteria", __base__=_Keyed, **fields)
    return create_model("_Judged", criteria=(criteria, ...), feedback_md=(Prose, ...))


def _result(criterion: str, score: int, explanation_md: str) -> dict[str, Any]:
    return {"criterion": criterion, "score": score, "max_score": MAX_SCORE, "explanation_md": explanation_md}


def _total(scores: Sequence[int]) -> int:
    """5 · Σ score / Σ max_score, rounded half up as readers expect. `round` would turn 2.5 into 2."""
    most = MAX_SCORE * len(scores)
    return (2 * MAX_TOTAL * sum(scores) + most) // (2 * most)
