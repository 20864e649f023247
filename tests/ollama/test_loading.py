"""Loading and unloading in the simulator: duration, visibility, end."""

from collections.abc import Iterator

import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.pending_call import pending_chat
from testkit.waiting import until

LOAD_SECONDS = 0.3
LOAD_NS = int(LOAD_SECONDS * 1e9)


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    """One whose loads take some time."""
    with start_simulator(model=["chain", "other"], tokens_per_second=5000, load_seconds=LOAD_SECONDS) as simulator:
        yield simulator


def listed(simulator: SimulatorProcess) -> list[str]:
    return [model["name"] for model in simulator.client.get("/api/ps").json()["models"]]


def generate(simulator: SimulatorProcess, **more: object) -> dict[str, object]:
    request = {"model": "chain", "prompt": "x", "stream": False, **more}
    answer: dict[str, object] = simulator.client.post("/api/generate", json=request).raise_for_status().json()
    return answer


def test_loading_is_invisible(simulator: SimulatorProcess) -> None:
    """A model that is being loaded is not in ps. Its load_duration is the time of its load."""
    with pending_chat(simulator, "chain") as call:
        until(lambda: simulator.state()["loading"] == "chain:latest")
        assert listed(simulator) == []
        answer = call.answer()
    assert LOAD_NS <= answer["load_duration"] < answer["total_duration"]
    assert listed(simulator) == ["chain:latest"]


def test_loads_are_serial(simulator: SimulatorProcess) -> None:
    """Of two loads at once the second begins after the first, and its load_duration includes that wait."""
    with pending_chat(simulator, "chain") as first:
        until(lambda: simulator.state()["loading"] == "chain:latest")
        with pending_chat(simulator, "other") as second:
            durations_ns = [first.answer()["load_duration"], second.answer()["load_duration"]]
    assert durations_ns[0] >= LOAD_NS
    assert durations_ns[1] > LOAD_NS * 1.2


def test_a_client_that_disconnects_aborts_its_load(simulator: SimulatorProcess) -> None:
    """If the client that caused a load leaves, the load is aborted and the next request starts it again."""
    with pending_chat(simulator, "chain") as first:
        until(lambda: simulator.state()["loading"] == "chain:latest")
        first.close()
        until(lambda: simulator.state()["loading"] is None)
    assert listed(simulator) == []
    assert generate(simulator)["load_duration"] >= LOAD_NS  # type: ignore[operator]


def test_a_loaded_model_answers_during_a_load(simulator: SimulatorProcess) -> None:
    """Requests to a loaded model do not wait for the load of another one."""
    generate(simulator)
    with pending_chat(simulator, "other") as loading:
        until(lambda: simulator.state()["loading"] == "other:latest")
        generate(simulator)
        assert simulator.state()["loading"] == "other:latest"
        loading.answer()


def test_an_unload_waits_for_the_last_request(simulator: SimulatorProcess) -> None:
    """keep_alive 0 is answered at once, but a busy model stays until it is idle."""
    generate(simulator)
    simulator.fault("hang")
    with pending_chat(simulator, "chain") as busy:
        until(lambda: simulator.state()["models"]["chain:latest"]["running"] == 1)
        assert generate(simulator, prompt="", keep_alive=0)["done_reason"] == "unload"
        assert listed(simulator) == ["chain:latest"]
        busy.close()
        until(lambda: listed(simulator) == [])


def test_keep_alive_expires(simulator: SimulatorProcess) -> None:
    """A model goes when its keep_alive has passed, here given as a Go duration."""
    generate(simulator, keep_alive="50ms")
    until(lambda: listed(simulator) == [])


def test_keep_alive_zero_with_a_prompt(simulator: SimulatorProcess) -> None:
    """A request with a prompt and keep_alive 0 is answered, and the model gone after it."""
    assert generate(simulator, keep_alive=0)["done_reason"] == "stop"
    until(lambda: listed(simulator) == [])


def test_keep_alive_forever(simulator: SimulatorProcess) -> None:
    """A negative keep_alive holds the model for Go's longest duration, about 292 years."""
    generate(simulator, keep_alive=-1)
    (model,) = simulator.client.get("/api/ps").json()["models"]
    assert model["expires_at"].startswith("23")


def test_another_context_reloads(simulator: SimulatorProcess) -> None:
    """A different num_ctx reloads the model, the same one does not (recording 19). ps shows the context of one slot."""
    generate(simulator)
    assert generate(simulator, options={"num_ctx": 8192})["load_duration"] >= LOAD_NS  # type: ignore[operator]
    assert simulator.client.get("/api/ps").json()["models"][0]["context_length"] == 8192
    assert generate(simulator, options={"num_ctx": 8192})["load_duration"] < LOAD_NS  # type: ignore[operator]


def test_latest_expiry_first(simulator: SimulatorProcess) -> None:
    """ps lists the model that stays longest first."""
    generate(simulator, keep_alive="10m")
    generate(simulator, model="other", keep_alive="20m")
    assert listed(simulator) == ["other:latest", "chain:latest"]
    generate(simulator, keep_alive="30m")
    assert listed(simulator) == ["chain:latest", "other:latest"]
