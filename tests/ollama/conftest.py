"""One fast simulator for each test module, with the models of the recordings."""

from collections.abc import Iterator

import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator

MODELS = ["chain", "chain-vision:vision", "loop", "stutter", "narrow:context=8192"]


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    with start_simulator(model=MODELS, tokens_per_second=5000, load_seconds=0.02, vision_seconds=0.01) as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: SimulatorProcess) -> SimulatorProcess:
    """Reset the simulator: no model loaded, no fault set, no call recorded."""
    for name in running_simulator.state()["models"]:
        running_simulator.client.post("/api/generate", json={"model": name, "keep_alive": 0})
    running_simulator.clear_faults()
    running_simulator.reset_calls()
    return running_simulator
