"""The tokens of our own calls: the server's numbers, for each answer and for nothing else."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from supervisor.settings.model import parse
from testkit.drawn_pages import draw_page, png_bytes
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.raw_server import END, HEAD, Peer, content_line, done, line, raw_server, status
from worker.adapters import feedback, vision
from worker.core.usage import MAX_TOKENS, UsageEvent, usage_of
from worker.ollama import errors
from worker.ollama.call_report import ignore_call
from worker.ollama.client import ChatRequest, Ollama, deadline_in
from worker.ollama.repetition import DOCUMENT_CHARACTERS
from worker.settings import WorkerSettings

QUESTION = ChatRequest("chain", ({"role": "user", "content": "Text"},), {}, 256, DOCUMENT_CHARACTERS)
Tokens = tuple[int | None, int | None, int | None]
UNKNOWN: Tokens = (None, None, None)
ANSWERS: dict[str, tuple[tuple[bytes, ...], Tokens]] = {
    "both numbers": ((HEAD, content_line("a"), done(prompt_eval_count=30, eval_count=7), END), (30, 7, 37)),
    "a prompt from the cache": ((HEAD, content_line("a"), done(eval_count=7), END), (None, 7, None)),
    "no numbers": ((HEAD, content_line("a"), done(), END), UNKNOWN),
    "an answer that is cut": (
        (HEAD, content_line("a"), done("length", prompt_eval_count=30, eval_count=256), END),
        (30, 256, 286),
    ),
    "a blank page": ((HEAD, done(prompt_eval_count=30), END), (30, None, None)),
    "a broken stream": ((HEAD, content_line("a"), END), UNKNOWN),
    "a thought and an error": ((HEAD, line(message={"thinking": "hm"}), line(error="no"), END), UNKNOWN),
    "endless repetition": ((HEAD, *(content_line(" \n ") for _ in range(400))), UNKNOWN),
    "impossible numbers": ((HEAD, content_line("a"), done(prompt_eval_count=-1, eval_count=MAX_TOKENS + 1), END), UNKNOWN),
    "a sum that is too large": (
        (HEAD, content_line("a"), done(prompt_eval_count=MAX_TOKENS, eval_count=1), END),
        (MAX_TOKENS, 1, None),
    ),
}
NO_ANSWERS: dict[str, tuple[bytes, ...]] = {
    "a full server": (status(503, b"{}"),),
    "an error": (status(500, b"{}"),),
    "a refused request": (status(400, b"{}"),),
    "only loaded": (HEAD, done("load"), END),
    "an error before the first token": (HEAD, line(error="no"), END),
    "the end of the connection": (HEAD,),
}


def events_of(url: str) -> list[UsageEvent]:
    """Send one request and return what it has recorded. A failure of the call does not matter here."""
    found: list[UsageEvent] = []
    with suppress(*errors.REQUEST_FAILURES):
        Ollama(url, on_usage=found.append).chat(QUESTION, deadline_in(15))
    return found


def answering(*parts: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*parts)

    return script


@pytest.mark.parametrize(("parts", "tokens"), ANSWERS.values(), ids=ANSWERS.keys())
def test_each_answer_is_one_event(parts: tuple[bytes, ...], tokens: Tokens) -> None:
    """Numbers are the server's own. Without any the usage is unknown. The database accepts each event."""
    with raw_server(answering(*parts)) as url:
        (event,) = events_of(url)
    assert (event.input_tokens, event.output_tokens, event.total_tokens) == tokens
    assert event.usage_known is (tokens != UNKNOWN)
    assert usage_of([event.as_json()]).events == (event,)


@pytest.mark.parametrize("parts", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_no_answer_is_no_event(parts: tuple[bytes, ...]) -> None:
    """A call that the model has not answered costs nothing."""
    with raw_server(answering(*parts)) as url:
        assert events_of(url) == []


def settings(url: str, root: Path) -> WorkerSettings:
    given = {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning", "OLLAMA_BASE_URL": url}
    models = {"AI_FEEDBACK_MODEL": "chain", "AI_VISION_MODEL": "chain-vision"}
    return parse({**given, **models, "STORAGE_VERIFY_ROOT": str(root)}).worker


def kinds(events: list[UsageEvent]) -> list[tuple[str, str, str, str]]:
    assert len({event.event_key for event in events}) == len(events)
    assert all(isinstance(event.event_key, UUID) for event in events)
    return [(event.model, event.stage, event.modality, event.call_kind) for event in events]


@pytest.mark.parametrize(("criteria", "kind"), [(["Rechenweg"], "primary"), ([], "no_criteria")])
def test_the_feedback_records_each_of_its_tries(
    simulator: SimulatorProcess, tmp_path: Path, criteria: list[str], kind: str
) -> None:
    """An invalid document is an answer too, and the second try is a repair."""
    simulator.fault("say", text=json.dumps({"no": "document"}))
    found: list[UsageEvent] = []
    writer = feedback.build(settings(simulator.url, tmp_path), lambda: None, ignore_call, found.append)
    writer.analyze(text_md="3 + 4 = 7", criteria=criteria)
    assert kinds(found) == [("chain", "feedback", "text", kind), ("chain", "feedback", "text", "repair")]
    assert all(event.usage_known for event in found)


def test_the_vision_records_each_page(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """Reading a page is the stage `ocr` with a picture."""
    content = png_bytes(draw_page("Der Umfang ist 14 cm.", seed=1), "Der Umfang ist 14 cm.")
    (tmp_path / "page.png").write_bytes(content)
    submission = {
        "mime_type": "image/png",
        "storage_key": "page.png",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "internal_metadata": {},
    }
    found: list[UsageEvent] = []
    adapter = vision.build(settings(simulator.url, tmp_path), lambda: None, ignore_call, found.append)
    with adapter.pages(submission, first_page=1) as pages:
        pages.read(pages.next_page())
    assert kinds(found) == [("chain-vision", "ocr", "visual", "primary")]
