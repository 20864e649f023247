"""The adapters and the recorded answers against a real Ollama; where there is none, the end of the run says so in a line."""

import asyncio
import hashlib
import os
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from supervisor.admission.apply import apply
from supervisor.admission.breaker import TRIP_FAILURES
from supervisor.admission.facts import CallEnded, ModelsListed
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import decide
from supervisor.admission.state import AdmissionState
from supervisor.doctor import findings
from supervisor.doctor.model import Role
from supervisor.doctor.probe import Outcome
from supervisor.doctor.run import examine
from supervisor.monitor.ollama.host import Host
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.settings.model import Settings, parse
from testkit.waiting import LIMIT_SECONDS, until
from tests.ollama.client import PendingCall
from tests.ollama.picture import jpeg
from tests.ollama.real_server import ENVIRONMENT, SENTENCE, real_server, why_not
from tests.ollama.recording import answered_shape, exchanges, names, recorded_shape, replay
from worker.adapters import feedback, vision
from worker.core.errors import Unavailable
from worker.core.retry import FailureKind, failure_of
from worker.ipc.contract import CallOutcome, ModelCall, Step
from worker.ollama import errors
from worker.ollama.call_report import OnCall, ignore_call
from worker.ollama.client import ChatRequest, Ollama, deadline_in

GOOD = Outcome.GOOD
WAITING = int(ENVIRONMENT["OLLAMA_MAX_QUEUE"]) + 1  # the first is no longer in the line
NO_PICTURE = {"role": "user", "content": "x", "images": ["eA=="]}
pytestmark = pytest.mark.skipif(why_not() != "", reason=why_not())


@pytest.fixture(scope="module")
def running_server() -> Iterator[httpx.Client]:
    with real_server() as url, httpx.Client(base_url=url, trust_env=False, timeout=LIMIT_SECONDS) as client:
        yield client


@pytest.fixture
def server(running_server: httpx.Client) -> httpx.Client:
    """With no model loaded."""
    for model in running_server.get("/api/ps").json()["models"]:
        running_server.post("/api/generate", json={"model": model["name"], "keep_alive": 0})
    until(lambda: running_server.get("/api/ps").json()["models"] == [])
    return running_server


@pytest.mark.parametrize("name", names())
def test_replay(server: httpx.Client, name: str) -> None:
    """The recorded requests still get the recorded answers: what the simulator is held to is what Ollama does."""
    for exchange in exchanges(name):
        answer = replay(server, exchange)
        assert answered_shape(answer) == recorded_shape(exchange), exchange["request"]


def settings(server: httpx.Client, **changes: str) -> Settings:
    given = {
        "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning",
        "AI_BACKEND": "local",
        "OLLAMA_BASE_URL": str(server.base_url),
        "AI_VISION_MODEL": "chain-vision",
        "AI_FEEDBACK_MODEL": "chain",
    }
    return parse(given | changes)


def question(model: str, max_tokens: int = 64, limit_characters: int = 5000) -> ChatRequest:
    return ChatRequest(model, ({"role": "user", "content": "Lies"},), {}, max_tokens, limit_characters)


def loaded(server: httpx.Client) -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in server.get("/api/ps").json()["models"]}


def runner_pids(server: httpx.Client) -> set[int]:
    """The processes that hold the models: children of whoever listens at the server's port."""
    port = server.base_url.port
    sockets = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
    pid = next(each.pid for each in sockets if tuple(each.laddr)[1:2] == (port,))
    return {child.pid for child in psutil.Process(pid).children()}


def test_a_conversation(server: httpx.Client) -> None:
    """The client hears what the model says, with the server's counts and its times, and each piece is progress."""
    progress: list[None] = []
    calls: list[ModelCall] = []
    ollama = Ollama(str(server.base_url), lambda: progress.append(None), calls.append)
    answer = ollama.chat(question("chain"), deadline_in(LIMIT_SECONDS))
    assert (answer.text.strip(), answer.tokens) == (SENTENCE, len(progress) + 1)
    assert answer.prompt_tokens > 0
    assert len(ollama.digest("chain") or "") == 64
    [call] = calls
    assert call.outcome is CallOutcome.ANSWERED
    assert (call.tokens_per_second or 0) > 0 < (call.load_seconds or 0)


def test_the_vision_adapter(server: httpx.Client, tmp_path: Path) -> None:
    """A real picture through storage, decoder and client becomes the text that the model says."""
    content = jpeg()
    (tmp_path / "page.jpg").write_bytes(content)
    submission = {
        "mime_type": "image/jpeg",
        "storage_key": "page.jpg",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "internal_metadata": {},
    }
    adapter = vision.build(settings(server, STORAGE_VERIFY_ROOT=str(tmp_path)).worker, lambda: None)
    with adapter.pages(submission, first_page=1) as pages:
        assert pages.read(pages.next_picture()).strip() == SENTENCE


def test_the_feedback_adapter(server: httpx.Client) -> None:
    """A model that can say one sentence and 0 gives a whole document at the first try: the schema holds it."""
    written = feedback.build(settings(server).worker, lambda: None).analyze(text_md="3 + 4 = 7", criteria=["Weg", "Ergebnis"])
    assert (written.feedback_md.strip(), written.parse_status) == (SENTENCE, "parsed")
    results = written.analysis_json["criteria_results"]
    assert [(result["explanation_md"].strip(), result["score"]) for result in results] == [(SENTENCE, 0)] * 2


def test_an_endless_answer_gives_its_slot_back(server: httpx.Client) -> None:
    """More of them than there are slots, each cut off by us: the server notices that nobody listens."""
    ollama = Ollama(str(server.base_url), lambda: None)
    for _ in range(int(ENVIRONMENT["OLLAMA_NUM_PARALLEL"]) + 1):
        with pytest.raises(errors.Runaway):
            ollama.chat(question("loop", 100_000, limit_characters=600), deadline_in(LIMIT_SECONDS))
    assert server.post("/api/generate", json={"model": "loop", "keep_alive": 0}).json()["done_reason"] == "unload"
    until(lambda: loaded(server) == {})  # which waits for all that is being said


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (question("nobody"), errors.ModelMissing),
        (replace(question("chain"), messages=({"role": "user", "content": "wort " * 20_000},)), errors.PromptTooLong),
        (
            replace(question("chain-vision"), messages=({"role": "user", "content": "x", "images": ["eA=="]},)),
            errors.ImageUnreadable,
        ),
        (replace(question("chain"), max_tokens=3), errors.AnswerTruncated),
    ],
    ids=["missing", "too long", "no picture", "cut"],
)
def test_failures(server: httpx.Client, asked: ChatRequest, error: type[Exception]) -> None:
    """What the real server refuses or cuts has the class that the retry rules go by."""
    with pytest.raises(error):
        Ollama(str(server.base_url), lambda: None).chat(asked, deadline_in(LIMIT_SECONDS))


def killed_while_it_speaks(server: httpx.Client, on_call: OnCall) -> Exception:
    """What comes of an answer whose runner is killed after its first token."""
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            killed.extend(runner_pids(server))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(errors.ServerFailed) as failure:
        Ollama(str(server.base_url), kill, on_call).chat(question("loop", 100_000, 100_000), deadline_in(LIMIT_SECONDS))
    return failure.value


def test_a_runner_that_dies_while_it_speaks(server: httpx.Client) -> None:
    """A broken stream, to be tried again; the next question loads the model anew."""
    failure = failure_of(killed_while_it_speaks(server, ignore_call), Step.VISION)
    assert failure.kind is FailureKind.TRANSIENT
    answer = Ollama(str(server.base_url), lambda: None).chat(question("chain"), deadline_in(LIMIT_SECONDS))
    assert answer.text.strip() == SENTENCE


def test_the_breaker(server: httpx.Client) -> None:
    """What is told of calls whose runner dies again and again closes the model's gate; one that is answered opens it."""
    policy = AdmissionPolicy(feedback_model="loop:latest", num_parallel=2)
    state, now_seconds = AdmissionState.of(policy, 0.0), 0.0

    def know(call: ModelCall) -> None:
        nonlocal state
        state = apply(state, CallEnded("loop:latest", call, now_seconds))

    for _ in range(TRIP_FAILURES):
        killed_while_it_speaks(server, know)
    assert decide(state, policy, now_seconds).calls_of("loop:latest") == 0
    now_seconds += policy.cool_seconds
    probing = decide(state, policy, now_seconds)
    assert probing.calls_of("loop:latest") == 1
    state = apply(state, probing.told(now_seconds))
    with pytest.raises(errors.AnswerTruncated):
        Ollama(str(server.base_url), lambda: None, know).chat(question("loop", 8), deadline_in(LIMIT_SECONDS))
    assert decide(state, policy, now_seconds).calls_of("loop:latest") >= policy.num_parallel


def test_no_room(server: httpx.Client) -> None:
    """A server whose line for loads is full has room for nobody: the job waits, and no attempt is burnt."""
    url, calls = str(server.base_url), list[ModelCall]()
    with ExitStack() as stack:
        for model in ("loop", "stutter"):  # both places, busy for as long as we listen
            endless = {"model": model, "messages": [NO_PICTURE | {"images": []}], "options": {"num_predict": 100_000}}
            stack.enter_context(closing(PendingCall(url, "/api/chat", endless))).first_line()
        prompt = {"model": "chain", "prompt": "x"}
        line = [stack.enter_context(closing(PendingCall(url, "/api/generate", prompt))) for _ in range(WAITING + 1)]
        assert select.select([call.socket for call in line], [], [], LIMIT_SECONDS)[0]  # one was refused: the line is full
        with pytest.raises(Unavailable):
            Ollama(url, lambda: None, calls.append).chat(question("chain"), deadline_in(LIMIT_SECONDS))
    assert [call.outcome for call in calls] == [CallOutcome.BUSY]
    until(lambda: server.post("/api/generate", json={"model": "chain"}).is_success)  # who has left keeps a place until it moves


def test_a_model_that_was_loaded_before_is_not_loaded_again(server: httpx.Client) -> None:
    """The options that a model is loaded with are those of its requests; others would make the server start it anew."""
    monitored = OllamaServer(str(server.base_url), LIMIT_SECONDS)
    assert asyncio.run(monitored.load("chain", {"num_ctx": 4096}))
    runner = runner_pids(server)
    ollama = Ollama(str(server.base_url), lambda: None)
    ollama.chat(replace(question("chain"), options={"num_ctx": 4096}), deadline_in(LIMIT_SECONDS))
    assert runner_pids(server) == runner
    ollama.chat(replace(question("chain"), options={"num_ctx": 2048}), deadline_in(LIMIT_SECONDS))
    assert runner_pids(server) != runner


def test_what_the_monitor_sees(server: httpx.Client) -> None:
    """A model is listed from its load to its unload, with its window; its runner's memory is seen on this host."""
    monitored, host = OllamaServer(str(server.base_url), LIMIT_SECONDS), Host(str(server.base_url), None)
    assert asyncio.run(monitored.load("chain", {"num_ctx": 4096}))
    listed = asyncio.run(monitored.listed())
    assert isinstance(listed, ModelsListed)
    assert [(model.name, model.context_tokens) for model in listed.models] == [("chain:latest", 4096)]
    held_bytes = host.measured().ollama_bytes or 0
    assert held_bytes > listed.models[0].size_bytes > 0
    assert asyncio.run(monitored.unload("chain"))
    until(lambda: loaded(server) == {})
    until(lambda: (host.measured().ollama_bytes or 0) < held_bytes)


def test_a_load_that_fails(server: httpx.Client) -> None:
    """A model that nobody has pulled is no load, and no exception either."""
    assert not asyncio.run(OllamaServer(str(server.base_url), LIMIT_SECONDS).load("nobody", {}))


def test_doctor(server: httpx.Client) -> None:
    """Every probe is answered and measured; the tiny models' weights are found out, which nobody has quantised."""
    examination = examine(settings(server), Host(str(server.base_url), None).measured(), 2, lambda _: None)
    assert [[probe.outcome for _, probe in patient.probes] for patient in examination.patients] == [[GOOD] * 3, [GOOD] * 4]
    assert [patient.model.weight_bits for patient in examination.patients if patient.model] == [32, 32]
    assert [[pace.role for pace in patient.paces] for patient in examination.patients] == [[Role.VISION], [Role.FEEDBACK]]
    assert len([line for line in findings.findings(examination) if "not quantised" in line.subject]) == 2
