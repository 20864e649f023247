"""The environments of fleets and single workers. One simulator for all fleets, one for each module with single workers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from testkit.bare_worker import Forker, start_forker
from testkit.database import Database, temporary_database
from testkit.far_host import FarHost, NotAllowed, far_host
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.readers import unreadable_results
from testkit.school import School
from testkit.site import FEEDBACK_MODEL, PARALLEL, VISION_MODEL, Site, open_site
from testkit.submissions import Submission, demo_submissions
from worker.ollama.api import load_request
from worker.ollama.token_budget import feedback_window, page_window


@pytest.fixture(scope="session")
def fleets_simulator() -> Iterator[SimulatorProcess]:
    with start_simulator(num_parallel=PARALLEL, tokens_per_second=20_000, load_seconds=0.01, vision_seconds=0.01) as simulator:
        yield simulator


@pytest.fixture
def site(database: Database, fleets_simulator: SimulatorProcess, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Open a site with both models loaded. Else the first fleet's gates would be closed and a job leased once more."""
    with open_site(database, fleets_simulator) as opened:
        for model, num_ctx in ((VISION_MODEL, page_window(VISION_MODEL)), (FEEDBACK_MODEL, feedback_window(FEEDBACK_MODEL, ""))):
            load = load_request(model, {"num_ctx": num_ctx})
            fleets_simulator.client.post("/api/generate", json=load).raise_for_status()
        fleets_simulator.reset_calls()
        yield opened
        check_results(request, opened.owner)


def check_results(request: pytest.FixtureRequest, owner: psycopg.Connection[Any]) -> None:
    """Every result that was written in the test is one that the platform's pages can show."""
    if not request.node.get_closest_marker("unreadable"):
        assert unreadable_results(owner) == []


@pytest.fixture
def far() -> Iterator[FarHost]:
    try:
        with far_host() as host:
            yield host
    except (NotAllowed, FileNotFoundError) as refusal:
        pytest.skip(f"{refusal}; .ci/run does this in a namespace of its own")


# Workers without a supervisor


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    with start_simulator(tokens_per_second=20_000, load_seconds=0.01, vision_seconds=0.01) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with start_forker() as started:
        yield started


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn) as fresh:
        yield fresh


@pytest.fixture
def school(
    shared_database: Database,
    running_simulator: SimulatorProcess,
    forker: Forker,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[School]:
    """Make a school without submissions, faults and recorded calls."""
    with psycopg.connect(shared_database.admin_dsn, autocommit=True, row_factory=dict_row) as owner:
        school = School(shared_database, owner, running_simulator.url, tmp_path, running_simulator, forker)
        school.clear()
        yield school
        check_results(request, owner)


@pytest.fixture(scope="module")
def demo() -> tuple[Submission, ...]:
    return demo_submissions()


@pytest.fixture(scope="module")
def photo(demo: tuple[Submission, ...]) -> Submission:
    return next(each for each in demo if each.mime_type == "image/png")


@pytest.fixture(scope="module")
def typed(demo: tuple[Submission, ...]) -> Submission:
    return next(each for each in demo if each.kind == "text")
