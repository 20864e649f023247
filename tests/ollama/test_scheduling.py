"""The queue for loads, and the choice of the model to evict (docs/ollama-api.md 4)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.pending_call import PendingCall, pending_chat
from testkit.waiting import until

MODELS = ["a", "b", "c:serial", "d"]


@contextmanager
def two_places(**more: int | bool) -> Iterator[SimulatorProcess]:
    with start_simulator(
        model=MODELS, max_loaded_models=2, num_parallel=2, tokens_per_second=5000, load_seconds=0.01, **more
    ) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    with two_places() as simulator:
        yield simulator


def load(simulator: SimulatorProcess, model: str, keep_alive: str = "5m") -> None:
    simulator.client.post("/api/generate", json={"model": model, "keep_alive": keep_alive}).raise_for_status()


def listed(simulator: SimulatorProcess) -> set[str]:
    return {model["name"].removesuffix(":latest") for model in simulator.client.get("/api/ps").json()["models"]}


def traffic(simulator: SimulatorProcess, model: str) -> tuple[int, int]:
    state = simulator.state()["models"][f"{model}:latest"]
    return state["running"], state["waiting"]


def hanging(simulator: SimulatorProcess, stack: ExitStack, model: str) -> PendingCall:
    simulator.fault("hang", model=model)
    call = stack.enter_context(pending_chat(simulator, model))
    until(lambda: traffic(simulator, model)[0] == 1)
    return call


def waiting(simulator: SimulatorProcess, stack: ExitStack, model: str, count: int = 1) -> PendingCall:
    call = stack.enter_context(pending_chat(simulator, model))
    until(lambda: traffic(simulator, model) == (0, count))
    return call


def test_an_eviction_waits_for_a_busy_model(simulator: SimulatorProcess) -> None:
    """If both are busy, the load waits for the end of the victim's request. Requests to the victim still overtake it."""
    with ExitStack() as stack:
        victim = hanging(simulator, stack, "a")
        hanging(simulator, stack, "b")
        third = waiting(simulator, stack, "d")
        with pending_chat(simulator, "a") as fast:
            assert fast.answer()["done"]
        assert traffic(simulator, "d") == (0, 1)
        victim.close()
        assert third.answer()["done"]
    assert listed(simulator) == {"b", "d"}


def test_every_request_waits_behind_the_first(simulator: SimulatorProcess) -> None:
    """While one load waits for its victim, no other is begun, though its client may have left the line."""
    with ExitStack() as stack:
        victim = hanging(simulator, stack, "a")
        hanging(simulator, stack, "b")
        first = waiting(simulator, stack, "d")
        second = waiting(simulator, stack, "c")
        first.close()
        until(lambda: traffic(simulator, "d") == (0, 0))
        assert traffic(simulator, "c") == (0, 1)
        victim.close()
        assert second.answer()["done"]
    assert "d" not in listed(simulator)


@pytest.mark.parametrize("bug", [True, False])
def test_a_keep_alive_during_an_eviction_keeps_the_model(bug: bool) -> None:
    """With Ollama's bug a keep_alive brings a victim back to life: it stays, and every load hangs while ps is fine. Without
    the bug it goes, and the load gets its place.
    """
    with two_places(resurrection_bug=bug) as simulator, ExitStack() as stack:
        victim = hanging(simulator, stack, "a")
        hanging(simulator, stack, "b")
        third = waiting(simulator, stack, "d")
        with pending_chat(simulator, "a", keep_alive=-1) as resurrecting:
            assert resurrecting.answer()["done"]
        victim.close()
        if not bug:
            assert third.answer()["done"]
            return
        until(lambda: traffic(simulator, "a") == (0, 0))
        assert listed(simulator) == {"a", "b"}
        assert (traffic(simulator, "d"), simulator.state()["loading"]) == ((0, 1), None)
        load(simulator, "a", "0s")  # the only way out: an explicit unload
        assert third.answer()["done"]
