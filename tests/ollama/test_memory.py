"""Memory: what /api/ps lists, the true size, its return after an unload, a killed process (docs/ollama-api.md 3.4, 3.5)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.pending_call import pending_chat
from testkit.waiting import until

GIB = 2**30
MODELS = ["big:size=4GiB:growth=512MiB", "small:size=1GiB:growth=0", "eyes:vision:size=3GiB:projector=1GiB"]


@contextmanager
def simulated(**more: Any) -> Iterator[SimulatorProcess]:
    fast = {"model": MODELS, "tokens_per_second": 5000, "load_seconds": 0.01, "memory_return_seconds": 0}
    with start_simulator(**{**fast, "memory": "8GiB", **more}) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    with simulated() as simulator:
        yield simulator


def ask(simulator: SimulatorProcess, model: str, prompt: str = "x", *, stream: bool = False) -> httpx.Response:
    return simulator.client.post("/api/generate", json={"model": model, "prompt": prompt, "stream": stream})


def runners(simulator: SimulatorProcess) -> dict[str, dict[str, Any]]:
    return {runner["model"].removesuffix(":latest"): runner for runner in simulator.state()["runners"]}


def listed(simulator: SimulatorProcess) -> dict[str, int]:
    return {model["name"].removesuffix(":latest"): model["size"] for model in simulator.client.get("/api/ps").json()["models"]}


def memory(simulator: SimulatorProcess) -> dict[str, int]:
    state: dict[str, int] = simulator.state()["memory"]
    return state


def test_prompts_use_memory_that_ps_does_not_list(simulator: SimulatorProcess) -> None:
    """Each new prompt adds to the prompt cache, a repeated one adds nothing, and the sizes in ps do not change."""
    ask(simulator, "big", "0")
    before = runners(simulator)["big"]
    for prompt in ("1", "2", "2", "0"):
        ask(simulator, "big", prompt)
    after = runners(simulator)["big"]
    assert after["true_bytes"] - before["true_bytes"] == after["prompt_cache_bytes"] == GIB
    assert listed(simulator)["big"] == before["reported_bytes"]


def test_a_load_takes_memory_unseen() -> None:
    """A model that is being loaded takes its memory while ps does not know it."""
    with simulated(load_seconds=600) as simulator, pending_chat(simulator, "small"):
        until(lambda: simulator.state()["loading"] == "small:latest")
        assert listed(simulator) == {}
        assert memory(simulator)["used_bytes"] == runners(simulator)["small"]["true_bytes"] > GIB


def test_memory_returns_after_ps() -> None:
    """An unloaded model is gone from ps before its memory is back, and no load begins before that."""
    with simulated(memory_return_seconds=600) as simulator, ExitStack() as stack:
        ask(simulator, "big")
        taken = memory(simulator)["used_bytes"]
        simulator.client.post("/api/generate", json={"model": "big", "keep_alive": 0})
        assert listed(simulator) == {}
        assert memory(simulator)["returning_bytes"] == memory(simulator)["used_bytes"] == taken
        stack.enter_context(pending_chat(simulator, "small"))
        until(lambda: simulator.state()["models"]["small:latest"]["waiting"] == 1)
        assert simulator.state()["loading"] is None
    with simulated(memory_return_seconds=0.01) as simulator:
        ask(simulator, "big")
        simulator.client.post("/api/generate", json={"model": "big", "keep_alive": 0})
        until(lambda: memory(simulator)["used_bytes"] == 0)


def test_a_load_kills_the_largest_runner_without_a_check() -> None:
    """A load is not checked for fit: the largest runner is killed, ps still lists it, and its next request loads it anew."""
    with simulated(memory="5GiB") as simulator:
        assert ask(simulator, "big").status_code == 200
        assert ask(simulator, "small").status_code == 200
        assert memory(simulator)["killed_runners"] == 1
        assert (runners(simulator)["big"]["is_dead"], runners(simulator)["big"]["true_bytes"]) == (True, 0)
        assert set(listed(simulator)) == {"big", "small"}
        answer = ask(simulator, "big")
        assert answer.status_code == 500
        assert answer.json() == {"error": "llama-server process has terminated: signal: killed"}
        assert ask(simulator, "small").status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_growth_kills(simulator: SimulatorProcess, *, stream: bool) -> None:
    """Prompt after prompt the runner grows until the kernel kills it in a request: 500. Loaded anew it is small again."""
    for number in range(20):
        answer = ask(simulator, "big", f"{stream} {number}", stream=stream)
        if answer.status_code != 200:
            break
    assert answer.json() == {"error": "an error was encountered while running the model: unexpected EOF"}
    assert answer.status_code == 500
    assert 5 < number < 10
    assert ask(simulator, "big").status_code == 200
    assert runners(simulator)["big"]["prompt_cache_bytes"] == 0


def test_a_lack_of_memory_kills_the_largest_runner() -> None:
    """A small model that takes the last memory kills the big one, in the middle of its stream: an error line under 200."""
    with simulated(memory="5.5GiB", max_loaded_models=2, model=[*MODELS[:1], "small:size=2GiB"]) as simulator:
        simulator.fault("endless", model="big")
        with pending_chat(simulator, "big", stream=True) as speaker:
            assert speaker.first_line()["done"] is False
            assert ask(simulator, "small").status_code == 200
            assert "unexpected EOF" in speaker.last_line()["error"]
