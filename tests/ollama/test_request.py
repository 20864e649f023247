"""How requests are read: the texts of Go's errors, durations, options."""

import base64
import math

import pytest

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.body import read_object
from testkit.ollama_simulator.keep_alive import read_keep_alive
from testkit.ollama_simulator.options import read_options
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.ollama_simulator.request import read_chat, read_generate


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0.0),
        (1.5, 1.5),
        (-1, math.inf),
        ("0", 0.0),
        ("1h30m", 5400.0),
        ("-1m", math.inf),
        (".5s", 0.5),
        ("2ms", 0.002),
    ],
)
def test_keep_alive(value: object, seconds: float | None) -> None:
    """Numbers are seconds, texts are Go durations, what is negative lasts for ever."""
    assert read_keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("soon", 'time: invalid duration "soon"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("5 days", 'time: unknown unit " days" in duration "5 days"'),
        (True, "Unsupported type: 'bool'"),
    ],
)
def test_keep_alive_refused(value: object, message: str) -> None:
    """A keep_alive that Go cannot read is a 400 with Go's text."""
    with pytest.raises(ApiError) as caught:
        read_keep_alive(value)
    assert (caught.value.status, caught.value.text) == (400, message)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b"{not json", "invalid character 'n' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a": x}', "invalid character 'x' looking for beginning of value"),
        (b'{"a": 1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a": "b', "unexpected EOF"),
        (b'{"a": ', "unexpected EOF"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (b'{"a":' * 100_000, "exceeded max depth"),
    ],
)
def test_body_refused(raw: bytes, message: str) -> None:
    """A body that is no JSON object is a 400 with Go's text."""
    with pytest.raises(ApiError) as caught:
        read_object(raw, "ChatRequest")
    assert (caught.value.status, caught.value.text) == (400, message)


def test_rest_of_the_body_is_ignored() -> None:
    """Go's decoder reads one value and does not look further."""
    assert read_object(b'{"a":1} and more', "ChatRequest") == {"a": 1}


@pytest.mark.parametrize(
    ("image", "offset"),
    [
        ("%%%", 0),
        ("data:image/png;base64,AAAA", 4),
        ("AAAAA", 4),
        ("AA=A", 3),
        ("AAA=A", 4),
        ("AA==A", 4),
        ("=AAA", 0),
        ("AA=", 3),
    ],
)
def test_base64_refused(image: str, offset: int) -> None:
    """The error names the byte at which Go's decoder stops."""
    with pytest.raises(ApiError, match=f"^illegal base64 data at input byte {offset}$"):
        read_generate({"model": "m", "prompt": "x", "images": [image]})


def test_base64_with_line_breaks() -> None:
    """Line breaks within base64 are skipped, as by Go."""
    text = base64.encodebytes(bytes(100)).decode()
    assert read_generate({"model": "m", "prompt": "x", "images": [text]}).images == (bytes(100),)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"model": 1}, "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
        ({"stream": "no"}, "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool"),
        (
            {"options": []},
            "json: cannot unmarshal array into Go struct field ChatRequest.options of type map[string]interface {}",
        ),
        ({"messages": ["x"]}, "json: cannot unmarshal string into Go struct field ChatRequest.messages of type api.Message"),
        ({"think": "much"}, 'invalid think value: "much" (must be "high", "medium", "low", "max", true, or false)'),
        ({"think": 1}, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
    ],
)
def test_field_refused(field: dict[str, object], message: str) -> None:
    """A field of a wrong type is a 400 with the text of Go's decoder or of Ollama's own reader."""
    with pytest.raises(ApiError) as caught:
        read_chat({"model": "m", "messages": [], **field})
    assert (caught.value.status, caught.value.text) == (400, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_ctx": "many"}, 'option "num_ctx" must be of type integer'),
        ({"seed": True}, 'option "seed" must be of type integer'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
    ],
)
def test_option_refused(options: dict[str, object], message: str) -> None:
    """An option of a wrong type is a 500."""
    with pytest.raises(ApiError) as caught:
        read_options(options)
    assert (caught.value.status, caught.value.text) == (500, message)


def test_unknown_option_is_ignored() -> None:
    """Unknown options and nulls count for nothing."""
    assert read_options({"no_such_option": 1, "num_ctx": None}) == read_options({})


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [("/api/generate", 404, "model '' not found"), ("/api/chat", 400, "model is required")],
)
def test_no_model(simulator: SimulatorProcess, path: str, status: int, message: str) -> None:
    """A request without a model is answered differently by generate and chat."""
    answer = simulator.client.post(path, json={"prompt": "x"})
    assert (answer.status_code, answer.json()) == (status, {"error": message})


def test_error_is_on_record(simulator: SimulatorProcess) -> None:
    """A refused request is a call with its status."""
    simulator.client.post("/api/chat", json={"model": "nope"})
    simulator.client.post("/api/chat", json={"model": "chain", "think": True, "messages": []})
    assert [(call["model"], call["outcome"]) for call in simulator.calls()] == [
        (None, "error:404"),
        ("chain:latest", "error:400"),
    ]
