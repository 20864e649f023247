"""One model server for all tests with fleets in a run; a database and a directory of its own for each of them."""

from collections.abc import Iterator

import pytest

from demo.database import Database
from demo.ollama_simulator.process import SimulatorProcess, start_simulator
from tests.process.site import PARALLEL, Site, open_site


@pytest.fixture(scope="session")
def fleets_simulator() -> Iterator[SimulatorProcess]:
    with start_simulator(num_parallel=PARALLEL, tokens_per_second=20_000, load_seconds=0.01, vision_seconds=0.01) as simulator:
        yield simulator


@pytest.fixture
def site(database: Database, fleets_simulator: SimulatorProcess) -> Iterator[Site]:
    with open_site(database, fleets_simulator) as opened:
        yield opened
