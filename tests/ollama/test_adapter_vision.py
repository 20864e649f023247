"""The vision adapter against models that read a page in different manners, as the simulator has them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.settings.model import parse
from testkit.drawn_pages import draw_page, png_bytes
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.raw_server import END, HEAD, Peer, content_line, done, line, raw_server, status
from worker.adapters import vision
from worker.adapters.vision import Pages, Vision
from worker.documents.page import Page
from worker.ipc.contract import CallOutcome, ModelCall
from worker.ollama import errors
from worker.ollama.client import ChatRequest, Ollama, deadline_in
from worker.ollama.repetition import PAGE_CHARACTERS

MODELS = [
    "eyes:vision",
    "glm-ocr:vision:looping",
    "deepseek-ocr:3b:vision:short-prompts",
    "school-ocr:vision:looping",
    "teller:vision:describing",
    "night:vision:blind",
    "away:vision:remote=ollama.com",
]
TEXT = "Der Umfang ist 14 cm.\nDie Fläche ist 12 Quadratzentimeter."


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    with start_simulator(model=MODELS, tokens_per_second=50_000, load_seconds=0.01, vision_seconds=0.01) as simulator:
        yield simulator


def adapter(url: str, root: Path, **changes: str) -> Vision:
    given = {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning", "OLLAMA_BASE_URL": url}
    return vision.build(parse({**given, "STORAGE_VERIFY_ROOT": str(root), **changes}).worker, lambda: None)


def read(url: str, root: Path, **changes: str) -> str:
    """The text of one written page."""
    content = png_bytes(draw_page(TEXT, seed=1), TEXT)
    (root / "page.png").write_bytes(content)
    submission = {
        "mime_type": "image/png",
        "storage_key": "page.png",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "internal_metadata": {},
    }
    with adapter(url, root, **changes).pages(submission, first_page=1) as pages:
        return pages.read(pages.next_page()).strip()


FAMILIES = {
    "any other": {"AI_VISION_MODEL": "eyes"},
    "loops on sentences": {"AI_VISION_MODEL": "glm-ocr"},
    "takes no sentences": {"AI_VISION_MODEL": "deepseek-ocr:3b"},
    "of another name": {"AI_VISION_MODEL": "school-ocr", "AI_VISION_PROMPT": "glm-ocr"},
    "in English": {"AI_VISION_MODEL": "glm-ocr", "AI_PROMPT_LANGUAGE": "en"},
}


@pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES.keys())
def test_a_family_reads_with_its_prompt(simulator: SimulatorProcess, tmp_path: Path, changes: dict[str, str]) -> None:
    """Each family reads the page in one call, and the answer ends where the text does."""
    assert read(simulator.url, tmp_path, **changes) == TEXT
    assert len(simulator.calls()) == 1


def test_the_sentences_do_not_fit_every_family(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """The manners of the simulator: with our sentences one model repeats itself, and another describes the page."""
    with pytest.raises(errors.Runaway):
        read(simulator.url, tmp_path, AI_VISION_MODEL="glm-ocr", AI_VISION_PROMPT="sentences")
    described = read(simulator.url, tmp_path, AI_VISION_MODEL="deepseek-ocr:3b", AI_VISION_PROMPT="sentences")
    assert described.startswith("Das Bild zeigt")


def test_a_model_that_reads_nothing(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """No text of a written page is no reading."""
    with pytest.raises(errors.EmptyAnswer):
        read(simulator.url, tmp_path, AI_VISION_MODEL="night")


def test_another_prompt_is_another_reading(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """The fingerprint of a text changes with the family's prompt, so a page is read again after a change of the setting."""
    submission = {"sha256": "x"}
    auto, other = ({"AI_VISION_MODEL": "glm-ocr"}, {"AI_VISION_MODEL": "glm-ocr", "AI_VISION_PROMPT": "sentences"})
    first, second = (adapter(simulator.url, tmp_path, **given).fingerprint(submission) for given in (auto, other))
    assert first != second


def test_other_pages_are_another_reading(simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint changes with the way pages are made, so texts of pages with other numbers are never mixed with new ones."""
    before = adapter(simulator.url, tmp_path).fingerprint({"sha256": "x"})
    monkeypatch.setattr("worker.adapters.vision.PAGES_VERSION", -1)
    assert adapter(simulator.url, tmp_path).fingerprint({"sha256": "x"}) != before


def test_nothing_is_sent_to_a_model_elsewhere(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """A page is sent to a model that runs outside of the house only if the setting allows it."""
    with pytest.raises(errors.ModelElsewhere):
        read(simulator.url, tmp_path, AI_VISION_MODEL="away")
    assert simulator.calls() == []
    assert read(simulator.url, tmp_path, AI_VISION_MODEL="away", AI_SEND_PUPILS_WORK_TO_CLOUD="true") == TEXT


@pytest.mark.parametrize("reply", [status(500, b""), status(200, b"no"), status(404, b"")], ids=["500", "garbage", "404"])
def test_nothing_is_sent_to_a_model_that_is_not_described(tmp_path: Path, reply: bytes) -> None:
    """Without a description the model may run anywhere, so the page is not sent."""
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request(skips_descriptions=False):
            received.append(request.partition(b" HTTP")[0])
            peer.send(reply)

    with raw_server(script) as url, pytest.raises((errors.LookupFailed, errors.ModelMissing)):
        read(url, tmp_path, AI_VISION_MODEL="away")
    assert received == [b"POST /api/show"]


def tokens_of(text: str, logprob: float) -> list[bytes]:
    return [line(message={"content": word}, logprobs=[{"token": word, "logprob": logprob}], done=False) for word in text]


ANSWERS = {
    "sure": (tokens_of("Das ist ein Satz.", -0.01), False),
    "unsure": (tokens_of("Das ist ein Satz.", -0.9), True),
    "without figures": ([content_line("Das ist ein Satz.")], False),
    "figures of another shape": ([line(message={"content": "Das ist ein Satz."}, logprobs=[7], done=False)], False),
    "no figures at all": ([line(message={"content": "Das ist ein Satz."}, logprobs=None, done=False)], False),
    "impossible figures": (tokens_of("Das ist ein Satz.", 3.0), False),
}


@pytest.mark.parametrize(("answer", "is_low"), ANSWERS.values(), ids=ANSWERS.keys())
def test_the_model_s_certainty_is_read(tmp_path: Path, answer: list[bytes], *, is_low: bool) -> None:
    """A page is asked for with probabilities. An answer without usable ones is as good as before."""
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            received.append(request)
            peer.send(HEAD, *answer, done(), END)

    content = png_bytes(draw_page(TEXT, seed=1), TEXT)
    with raw_server(script) as url:
        pages = Pages([False], iter([Page(content)]), adapter(url, tmp_path)._ask, {}, 0)
        assert pages.read(pages.next_page()) == "Das ist ein Satz."
    assert b'"logprobs":true' in received[0].replace(b" ", b"")
    assert pages.confidence.is_low is is_low


def test_a_missing_description_is_reported_as_a_failed_call() -> None:
    """The breaker of the model counts it, because no chat follows that could fail."""
    calls: list[ModelCall] = []
    with raw_server() as url:
        pass
    client = Ollama(url, on_call=calls.append, may_leave_the_house=False)
    request = ChatRequest("away", ({"role": "user", "content": "x"},), {"num_ctx": 4096}, 16, PAGE_CHARACTERS)
    with pytest.raises(errors.ServerUnreachable):
        client.chat(request, deadline_in(15))
    assert [call.outcome for call in calls] == [CallOutcome.FAILED]
