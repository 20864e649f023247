"""The simulator beside recorded answers of Ollama 0.32.15: the same requests, the same shapes."""

import pytest

from testkit.ollama_simulator.process import SimulatorProcess
from testkit.recording import answered_shape, exchanges, names, recorded_shape, replay


@pytest.mark.parametrize("name", names())
def test_replay(simulator: SimulatorProcess, name: str) -> None:
    """Each recorded request gets the recorded status, headers, keys, types, error text and way to end, in the same order."""
    for exchange in exchanges(name):
        answer = replay(simulator.client, exchange)
        assert answered_shape(answer) == recorded_shape(exchange), exchange["request"]


def test_version(simulator: SimulatorProcess) -> None:
    """The version is the one whose answers were recorded."""
    assert simulator.client.get("/api/version").json() == {"version": "0.32.15"}


def test_model_is_echoed(simulator: SimulatorProcess) -> None:
    """An answer names the model as it was asked for, the lists name it with its tag (recordings 05 and 19)."""
    for asked in ("chain", "chain:latest"):
        answer = simulator.client.post("/api/generate", json={"model": asked, "prompt": "x", "stream": False}).json()
        assert answer["model"] == asked
    assert [model["name"] for model in simulator.client.get("/api/ps").json()["models"]] == ["chain:latest"]
