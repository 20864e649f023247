"""Recordings that need a scene around them: several clients, one that leaves, a runner that dies, memory that grows."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import httpx
import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.pending_call import pending_chat
from testkit.recording import DIRECTORY, SCENES, answered_shape, exchanges, lines_shape, recorded_shape, replay
from testkit.waiting import until

Play = Callable[[SimulatorProcess], None]
MESSAGES = [{"role": "user", "content": "x"}]
played: list[str] = []


def plays(name: str) -> Callable[[Play], Play]:
    played.append(name)
    return lambda play: play


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    """As the recorded server was started."""
    models = ["chain", "chain-vision:vision", "loop", "stutter"]
    limits = {"num_parallel": 2, "max_loaded_models": 2, "max_queue": 4}
    with start_simulator(model=models, tokens_per_second=5000, load_seconds=0.05, vision_seconds=0, **limits) as simulator:
        yield simulator


def chat(simulator: SimulatorProcess, **more: object) -> httpx.Response:
    return simulator.client.post("/api/chat", json={"model": "loop", "messages": MESSAGES, "stream": False, **more})


def generate(simulator: SimulatorProcess) -> httpx.Response:
    return simulator.client.post("/api/generate", json={"model": "chain", "prompt": "x", "stream": False})


def shapes(name: str) -> list[dict[str, Any]]:
    return [recorded_shape(exchange) for exchange in exchanges(name)]


def test_every_scene_is_played() -> None:
    """A recording that cannot be replayed has a scene here."""
    assert sorted(played) == sorted(SCENES)


@plays("20-third-model-evicts")
def test_third_model_evicts(simulator: SimulatorProcess) -> None:
    """With two places taken a third model evicts the one with the shorter keep_alive, not the one used longest ago."""
    for exchange in exchanges("19-ps-loaded"):
        replay(simulator.client, exchange)
    for exchange in exchanges("20-third-model-evicts"):
        answer = replay(simulator.client, exchange)
        assert answered_shape(answer) == recorded_shape(exchange)
    recorded = exchanges("20-third-model-evicts")[-1]["response"]["json"]["models"]
    assert {model["name"] for model in answer.json()["models"]} == {model["name"] for model in recorded}


@plays("21-queue-full")
def test_queue_full(simulator: SimulatorProcess) -> None:
    """Both places are busy: one request waits for the eviction, four more in the queue, four get 503 at once."""
    simulator.fault("hang", times=2)
    with ExitStack() as stack:
        busy = [stack.enter_context(pending_chat(simulator, model)) for model in ("loop", "stutter")]
        until(lambda: sum(model["running"] for model in simulator.state()["models"].values()) == 2)
        pool = stack.enter_context(ThreadPoolExecutor(5))
        for call in busy:
            stack.callback(call.close)  # before the pool waits, also where the test fails
        waiting: list[Future[httpx.Response]] = []
        for number in range(5):
            waiting.append(pool.submit(generate, simulator))
            until(lambda expected=number + 1: simulator.state()["models"]["chain:latest"]["waiting"] == expected)  # type: ignore[misc]
        refused = [generate(simulator) for _ in range(4)]
        ps = simulator.client.get("/api/ps")
        busy[0].close()
        answers = [*(future.result() for future in waiting), *refused, ps]
    assert [answered_shape(answer) for answer in answers] == shapes("21-queue-full")


@plays("22-cancel")
def test_cancel(simulator: SimulatorProcess) -> None:
    """A client leaves after five lines, and the next request is served."""
    request = {"model": "loop", "messages": MESSAGES, "options": {"num_predict": 100_000}}
    with simulator.client.stream("POST", "/api/chat", json=request) as response:
        stream = response.iter_lines()
        lines = [next(stream) for _ in range(5)]
    following = chat(simulator, options={"num_predict": 5})
    assert [lines_shape(response, lines), answered_shape(following)] == shapes("22-cancel")
    assert following.json()["message"]["content"] == " Die Rechnung ist richtig und"
    until(lambda: simulator.state()["models"]["loop:latest"]["running"] == 0)


@plays("23-runner-killed")
def test_runner_killed(simulator: SimulatorProcess) -> None:
    """The runner dies in a stream: an error line, ps as before, and the next request loads it again."""
    chat(simulator, options={"num_predict": 5})
    simulator.fault("kill_runner")
    answers = [
        chat(simulator, stream=True, options={"num_predict": 100}),
        simulator.client.get("/api/ps"),
        chat(simulator, options={"num_predict": 5}),
    ]
    assert [answered_shape(answer) for answer in answers] == shapes("23-runner-killed")


@plays("24-runner-killed-not-streamed")
def test_runner_killed_not_streamed(simulator: SimulatorProcess) -> None:
    """The same for a whole answer is a 500."""
    simulator.fault("kill_runner")
    assert [answered_shape(chat(simulator, options={"num_predict": 100}))] == shapes("24-runner-killed-not-streamed")


@plays("25-slots")
def test_slots(simulator: SimulatorProcess) -> None:
    """Five at once on two slots: the wait is in total_duration and not in load_duration, as recorded."""
    chat(simulator, options={"num_predict": 5})
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: chat(simulator, options={"num_predict": 1500}), range(5)))
    assert [answered_shape(answer) for answer in answers] == shapes("25-slots")
    for bodies in ([answer.json() for answer in answers], [each["response"]["json"] for each in exchanges("25-slots")]):
        evaluated_ns = min(body["eval_duration"] for body in bodies)
        waits_ns = sorted(body["total_duration"] - body["load_duration"] - body["eval_duration"] for body in bodies)
        assert all(wait_ns > evaluated_ns / 2 for wait_ns in waits_ns[2:])


@plays("26-ps-against-rss")
def test_ps_against_true_memory(simulator: SimulatorProcess) -> None:
    """With three more prompts per row ps lists the same size, while the runner takes more and more."""
    recorded = json.loads((DIRECTORY / "26-ps-against-rss.json").read_text())["rows"]
    simulator.client.post("/api/generate", json={"model": "chain-vision"})
    rows, sent = [], 0
    for row in recorded:
        while sent < row["prompts_sent"]:
            sent += 1
            chat(simulator, model="chain-vision", messages=[{"role": "user", "content": f"Aufgabe {sent} " * 50}])
        (runner,) = simulator.state()["runners"]
        (listed,) = simulator.client.get("/api/ps").json()["models"]
        rows.append({"prompts_sent": sent, "ps_size_bytes": listed["size"], "runner_rss_bytes": runner["true_bytes"]})
    assert [set(row) for row in rows] == [set(row) for row in recorded]
    for table in (recorded, rows):
        assert len({row["ps_size_bytes"] for row in table}) == 1
        assert all(before["runner_rss_bytes"] < after["runner_rss_bytes"] for before, after in pairwise(table))
