"""The context window: what is cut, what is refused, what is reloaded (docs/ollama-api.md 5 and 6.4)."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.picture import base64_text, jpeg

WORDS = "wort " * 20
LONG = "wort " * 3000


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    """With a model whose chats Ollama renders, one that never ends and sees, and two usual ones."""
    models = ["chain", "chain-vision:vision", "templated:rendered", "loop:vision"]
    with start_simulator(model=models, tokens_per_second=20_000, load_seconds=0, vision_seconds=0) as simulator:
        yield simulator


def ask(simulator: SimulatorProcess, path: str, model: str, num_ctx: int = 64, **more: object) -> httpx.Response:
    request = {"model": model, "stream": False, "options": {"num_ctx": num_ctx}, **more}
    return simulator.client.post(path, json=request)


def chat(simulator: SimulatorProcess, *contents: str, model: str = "chain", **more: Any) -> httpx.Response:
    """The first of several messages is the system's."""
    roles = ["system", *["user"] * (len(contents) - 1)] if len(contents) > 1 else ["user"]
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    return ask(simulator, "/api/chat", model, messages=messages, **more)


def is_too_long(answer: httpx.Response) -> bool:
    return answer.status_code == 400 and json.loads(answer.json()["error"])["error"]["type"] == "exceed_context_size_error"


def test_rendered_chat_is_cut(simulator: SimulatorProcess) -> None:
    """If Ollama renders the chat, it is cut to half the window and answered. Only prompt_eval_count shows it."""
    answer = chat(simulator, WORDS * 10, model="templated")
    assert (answer.status_code, answer.json()["prompt_eval_count"]) == (200, 34)


@pytest.mark.parametrize("model", ["chain", "templated"])
def test_cut_keeps_the_end(simulator: SimulatorProcess, model: str) -> None:
    """generate keeps the beginning and the end: criteria in the middle are lost, those at the end are known to the answer."""
    schema = {"type": "array", "items": {"properties": {"criterion": {"type": "string"}}, "required": ["criterion"]}}
    listed = "Kriterien:\n- Satzbau\n"
    for prompt, is_known in ((WORDS * 10 + listed, True), (WORDS * 10 + listed + WORDS * 10, False)):
        answer = ask(simulator, "/api/generate", model, prompt=prompt, format=schema).json()
        assert answer["prompt_eval_count"] == 34
        assert ("Satzbau" in answer["response"]) == is_known


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_images_are_never_cut(simulator: SimulatorProcess, path: str) -> None:
    """A request with an image is refused where prompt and image together are too long, and answered where they fit."""
    images = [base64_text(jpeg("Guten Tag"))]
    for text, fits in (("wort " * 900, True), ("wort " * 1200, False)):
        message = {"role": "user", "content": text, "images": images}
        request = {"messages": [message]} if path == "/api/chat" else {"prompt": text, "images": images}
        answer = ask(simulator, path, "chain-vision", num_ctx=2048, **request)
        assert is_too_long(answer) != fits


def test_dotted_lines(simulator: SimulatorProcess) -> None:
    """A page with a dotted line ends generate with done false after 31 dots. Chat reads on (docs/ollama-api.md 7)."""
    images = [base64_text(jpeg("Name: " + "." * 40 + " Ende"))]
    cut = ask(simulator, "/api/generate", "chain-vision", num_ctx=4096, prompt="Lies.", images=images).json()
    assert (cut["done"], cut["response"]) == (False, "Name: " + "." * 31)
    message = {"role": "user", "content": "Lies.", "images": images}
    whole = ask(simulator, "/api/chat", "chain-vision", num_ctx=4096, messages=[message]).json()
    assert whole["message"]["content"].endswith(". Ende")
