"""One simulator for each module of tests, fast, with the models that the recordings name."""

from collections.abc import Iterator

import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator

MODELS = ["chain", "chain-vision:vision", "loop", "stutter"]


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    with start_simulator(model=MODELS, tokens_per_second=5000, load_seconds=0.02, vision_seconds=0.01) as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: SimulatorProcess) -> SimulatorProcess:
    """With one slot for each model, no model loaded, no fault ordered and no call on record."""
    for name in running_simulator.state()["models"]:
        running_simulator.client.post("/api/generate", json={"model": name, "keep_alive": 0})
    running_simulator.clear_faults()
    running_simulator.reset_calls()
    return running_simulator
