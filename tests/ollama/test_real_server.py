"""The adapters and the recorded answers against a real Ollama. Without one, the end of the run reports that in a line."""

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
from supervisor.admission.facts import CallEnded, ModelsListed, ProbeBegun, ProbeEnded
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import decide
from supervisor.admission.state import AdmissionState
from supervisor.doctor import findings
from supervisor.doctor.probe import Outcome
from supervisor.doctor.run import run as run_doctor
from supervisor.monitor.ollama.host import Host
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.settings.model import Settings, parse
from testkit.pending_call import PendingCall
from testkit.picture import jpeg
from testkit.real_ollama.server import ENVIRONMENT, SENTENCE, real_server, why_not
from testkit.recording import answered_shape, exchanges, names, recorded_shape, replay
from testkit.waiting import LIMIT_SECONDS, until
from worker.adapters import feedback, vision
from worker.core.errors import Unavailable
from worker.core.faults import Fault
from worker.core.retry import failure_of
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
    """The recorded requests still get the recorded answers, so the recordings of the simulator are those of the real server."""
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
    """Processes that hold the models: children of the process that listens at the server's port."""
    port = server.base_url.port
    sockets = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
    pid = next(each.pid for each in sockets if tuple(each.laddr)[1:2] == (port,))
    return {child.pid for child in psutil.Process(pid).children()}


def test_a_conversation(server: httpx.Client) -> None:
    """The client receives the model's answer with the server's counts and times, and each piece is progress."""
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
    """A real picture passes storage, decoder and client, and becomes the model's text."""
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
        assert pages.read(pages.next_page()).strip() == SENTENCE


def test_the_feedback_adapter(server: httpx.Client) -> None:
    """A model that knows one sentence and 0 gives a whole document at the first try, because the schema holds it."""
    written = feedback.build(settings(server).worker, lambda: None).analyze(text_md="3 + 4 = 7", criteria=["Weg", "Ergebnis"])
    assert (written.feedback_md.strip(), written.parse_status) == (SENTENCE, "parsed")
    results = written.analysis_json["criteria_results"]
    assert [(result["explanation_md"].strip(), result["score"]) for result in results] == [(SENTENCE, 0)] * 2


def test_an_endless_answer_frees_its_slot(server: httpx.Client) -> None:
    """More answers than slots are cut off by the client: the server notices each and frees its slot."""
    ollama = Ollama(str(server.base_url), lambda: None)
    for _ in range(int(ENVIRONMENT["OLLAMA_NUM_PARALLEL"]) + 1):
        with pytest.raises(errors.Runaway):
            ollama.chat(question("loop", 100_000, limit_characters=600), deadline_in(LIMIT_SECONDS))
    assert server.post("/api/generate", json={"model": "loop", "keep_alive": 0}).json()["done_reason"] == "unload"
    until(lambda: loaded(server) == {})  # it waits for all that is being generated


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
    """Each refusal of the real server has the class on which the retry rules decide."""
    with pytest.raises(error):
        Ollama(str(server.base_url), lambda: None).chat(asked, deadline_in(LIMIT_SECONDS))


def killed_during_an_answer(server: httpx.Client, on_call: OnCall) -> Exception:
    """Result of an answer whose runner is killed after its first token."""
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            killed.extend(runner_pids(server))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(errors.ServerFailed) as failure:
        Ollama(str(server.base_url), kill, on_call).chat(question("loop", 100_000, 100_000), deadline_in(LIMIT_SECONDS))
    return failure.value


def test_a_runner_that_dies_during_an_answer(server: httpx.Client) -> None:
    """A broken stream may be the fault of the surroundings, and the next request loads the model anew."""
    failure = failure_of(killed_during_an_answer(server, ignore_call), Step.VISION)
    assert failure.fault is Fault.SUSPECT
    answer = Ollama(str(server.base_url), lambda: None).chat(question("chain"), deadline_in(LIMIT_SECONDS))
    assert answer.text.strip() == SENTENCE


def test_the_breaker(server: httpx.Client) -> None:
    """Calls whose runner dies again and again close the model's gate. A probe that is answered opens it for one call."""
    policy = AdmissionPolicy(feedback_model="loop:latest", num_parallel=2)
    state, now_seconds = AdmissionState.of(policy, 0.0), 0.0

    def know(call: ModelCall) -> None:
        nonlocal state
        state = apply(state, CallEnded("loop:latest", call, now_seconds))

    for _ in range(TRIP_FAILURES):
        killed_during_an_answer(server, know)
    assert decide(state, policy, now_seconds).calls_of("loop:latest") == 0
    now_seconds += policy.probe_seconds
    monitored = OllamaServer(str(server.base_url), LIMIT_SECONDS)
    state = apply(state, asyncio.run(monitored.listed()))
    state = apply(state, ProbeBegun("loop:latest", now_seconds))
    probed = asyncio.run(monitored.probe("loop", {}, has_picture=False, try_seconds=LIMIT_SECONDS, timeout_seconds=LIMIT_SECONDS))
    state = apply(state, ProbeEnded("loop:latest", probed.error_class, now_seconds))
    assert decide(state, policy, now_seconds).calls_of("loop:latest") == 1
    with pytest.raises(errors.AnswerTruncated):
        Ollama(str(server.base_url), lambda: None, know).chat(question("loop", 8), deadline_in(LIMIT_SECONDS))
    assert decide(state, policy, now_seconds).calls_of("loop:latest") >= policy.num_parallel


def test_no_room(server: httpx.Client) -> None:
    """While the server's queue for loads is full, the job waits and loses no attempt."""
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
    until(
        lambda: server.post("/api/generate", json={"model": "chain"}).is_success
    )  # a lost client keeps a place until the queue moves


def test_a_model_that_was_loaded_before_is_not_loaded_again(server: httpx.Client) -> None:
    """A preload uses the options of the requests. Other options would make the server load the model anew."""
    monitored = OllamaServer(str(server.base_url), LIMIT_SECONDS)
    assert asyncio.run(monitored.load("chain", {"num_ctx": 4096}))
    runner = runner_pids(server)
    ollama = Ollama(str(server.base_url), lambda: None)
    ollama.chat(replace(question("chain"), options={"num_ctx": 4096}), deadline_in(LIMIT_SECONDS))
    assert runner_pids(server) == runner
    ollama.chat(replace(question("chain"), options={"num_ctx": 2048}), deadline_in(LIMIT_SECONDS))
    assert runner_pids(server) != runner


def test_the_monitor_reads_the_window_and_the_memory_of_a_model(server: httpx.Client) -> None:
    """A model is listed with its window from its load to its unload, and its runner's memory is measured on this host."""
    monitored, host = OllamaServer(str(server.base_url), LIMIT_SECONDS), Host(str(server.base_url), None)
    assert asyncio.run(monitored.load("chain", {"num_ctx": 4096}))
    listed = asyncio.run(monitored.listed())
    assert isinstance(listed, ModelsListed)
    assert [(model.name, model.context_tokens) for model in listed.models] == [("chain:latest", 4096)]
    used_bytes = host.measured().ollama_bytes or 0
    assert used_bytes > listed.models[0].size_bytes > 0
    assert asyncio.run(monitored.unload("chain"))
    until(lambda: loaded(server) == {})
    until(lambda: (host.measured().ollama_bytes or 0) < used_bytes)


def test_a_load_that_fails(server: httpx.Client) -> None:
    """Loading a model that is not on the server fails without an exception."""
    assert not asyncio.run(OllamaServer(str(server.base_url), LIMIT_SECONDS).load("nobody", {}))


def test_doctor(server: httpx.Client) -> None:
    """Every probe is answered and measured. The tiny models' weights are recognised as unquantised.

    The tiny vision model reads any page as its one sentence, which is found.
    """
    report = run_doctor(settings(server), Host(str(server.base_url), None).measured(), 2, lambda _: None)
    assert [[probe.outcome for _, probe in check.probes] for check in report.models] == [
        [GOOD, GOOD, Outcome.READ_OTHER],
        [GOOD] * 4,
    ]
    assert [check.model.weight_bits for check in report.models if check.model] == [32, 32]
    assert [[each.step for each in check.timeouts] for check in report.models] == [[], [Step.FEEDBACK]]
    assert len([line for line in findings.findings(report) if "not quantised" in line.subject]) == 2
