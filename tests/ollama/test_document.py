"""Documents for a JSON schema: valid, repeatable, about the criteria that were asked for."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from testkit.ollama_simulator.criteria import criteria_in
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.ollama_simulator.schema import SchemaError, Subject, document

PROMPT = "Bewerte nach den Kriterien.\n\nKriterien:\n- Rechenweg\n- Antwortsatz: vollständig\n\nText:\n- kein Kriterium"
Schema = dict[str, Any]


class Criterion(BaseModel):
    criterion: str
    score: Annotated[int, Field(ge=0, le=10)]
    max_score: int
    explanation_md: str


class CriteriaDocument(BaseModel):
    """criteria.v2 as pydantic writes its schema: with $defs and $ref."""

    schema_: Annotated[Literal["criteria.v2"], Field(alias="schema")]
    score: Annotated[int, Field(ge=0, le=5)]
    criteria_results: list[Criterion]


class Everything(BaseModel):
    """One field for each kind of schema."""

    model_config = ConfigDict(extra="forbid")

    above: Annotated[int, Field(gt=3, lt=6)]
    below: Annotated[int, Field(le=-7)]
    share: Annotated[float, Field(ge=0.25, le=0.5)]
    colour: Literal["rot", "blau"]
    is_open: bool
    nothing: None
    maybe: int | None
    words: Annotated[list[str], Field(min_length=3, max_length=3)]
    pair: tuple[int, str]
    code: Annotated[str, Field(min_length=120, max_length=125)]
    inner: Criterion
    optional: str = "left out"


def ask(simulator: SimulatorProcess, schema: Mapping[str, Any] | str, path: str = "/api/chat", prompt: str = PROMPT) -> str:
    request = {"model": "chain", "format": schema, "stream": False}
    said = {"prompt": prompt} if path == "/api/generate" else {"messages": [{"role": "user", "content": prompt}]}
    answer = simulator.client.post(path, json={**request, **said}).raise_for_status().json()
    return str(answer["response"] if path == "/api/generate" else answer["message"]["content"])


def about(*criteria: str, seed: str = "x") -> Subject:
    return Subject(seed, ("Gut.", "Schön."), criteria)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_criteria_of_the_prompt(simulator: SimulatorProcess, path: str) -> None:
    """An open list has one result for each criterion of the prompt, in its order, with scores in range."""
    parsed = CriteriaDocument.model_validate_json(ask(simulator, CriteriaDocument.model_json_schema(), path))
    assert [result.criterion for result in parsed.criteria_results] == ["Rechenweg", "Antwortsatz: vollständig"]
    assert all(result.max_score == 10 for result in parsed.criteria_results)


def criterion_schema(**criterion: object) -> Schema:
    return {"type": "object", "properties": {"criterion": criterion}, "required": ["criterion"]}


@pytest.mark.parametrize(
    "array",
    [
        {"items": criterion_schema(type="string", enum=["b", "a"])},
        {"items": criterion_schema(type="string", enum=["b", "a"]), "minItems": 2, "maxItems": 2},
        {"prefixItems": [criterion_schema(const="b"), criterion_schema(const="a")], "items": False},
    ],
)
def test_criteria_of_the_schema(array: Schema) -> None:
    """Criteria that the schema names itself, by enum or one by one, come in its order and before those of the prompt."""
    assert document({"type": "array", **array}, about("c", "d")) == [{"criterion": "b"}, {"criterion": "a"}]


def test_list_without_criteria() -> None:
    """A list that may be empty is empty where no criterion is known."""
    assert document({"type": "array", "items": criterion_schema(type="string")}, about()) == []
    assert document({"type": "array", "items": {"type": "string"}}, about("a")) == []


def test_criteria_in_prompt() -> None:
    """Criteria are the first list after a line that speaks of Kriterien; a list before it or a later one are not."""
    assert criteria_in(PROMPT) == ("Rechenweg", "Antwortsatz: vollständig")
    assert criteria_in("- davor\nKriterien\n  - eingerückt") == ("eingerückt",)
    assert criteria_in("- ohne Überschrift") == ()


@pytest.mark.parametrize("seed", [str(number) for number in range(25)])
def test_every_kind_is_valid(seed: str) -> None:
    """Each kind of schema gets a valid value, whatever the seed; only required properties are there."""
    value = document(Everything.model_json_schema(), about(seed=seed))
    Everything.model_validate_json(json.dumps(value), strict=True)
    assert isinstance(value, dict)
    assert "optional" not in value


def test_values_depend_on_the_prompt(simulator: SimulatorProcess) -> None:
    """The same prompt gets the same document, other prompts get others."""
    schema = CriteriaDocument.model_json_schema()
    assert ask(simulator, schema) == ask(simulator, schema)
    assert len({ask(simulator, schema, prompt=f"{PROMPT} {number}") for number in range(5)}) > 1


def test_order_of_properties(simulator: SimulatorProcess) -> None:
    """Chat sorts properties by name, generate keeps the schema's order (llama-server's two paths)."""
    schema = {"properties": {"b": {"const": 1}, "a": {"const": 2}}, "required": ["a", "b"]}
    assert ask(simulator, schema) == '{"a":2,"b":1}'
    assert ask(simulator, schema, "/api/generate") == '{"b":1,"a":2}'


def test_any_json(simulator: SimulatorProcess) -> None:
    """The format "json" gets some object."""
    assert isinstance(json.loads(ask(simulator, "json")), dict)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, 'Unrecognized schema: {"type":"objekt"}'),
        ({"$ref": "#/$defs/X"}, r"cannot resolve \$ref #/\$defs/X, \$defs not found"),
        ({"$ref": "#"}, "references in a circle"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "nested too deeply"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no whole number"),
    ],
)
def test_schema_refused(schema: Schema, message: str) -> None:
    """A schema that cannot be used is refused with a reason and never ends in a loop."""
    with pytest.raises(SchemaError, match=message):
        document(schema, about())


def test_schema_refused_by_generate(simulator: SimulatorProcess) -> None:
    """generate words a bad schema in its own way: 400, JSON within the error."""
    answer = simulator.client.post("/api/generate", json={"model": "chain", "prompt": "x", "format": {"type": "objekt"}})
    inner = json.loads(answer.json()["error"])["error"]
    assert (answer.status_code, inner["code"], inner["type"]) == (400, 400, "invalid_request_error")
    assert inner["message"].startswith("Field 'json_schema': \"json_schema\": JSON schema conversion failed:\n")
