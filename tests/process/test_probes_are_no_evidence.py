"""Probes that are answered while every call of a job fails, as in a GPU whose memory suffices for a tiny prompt alone."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from testkit.database import Database
from testkit.site import FEEDBACK_MODEL, VISION_MODEL
from testkit.waiting import until
from tests.process.test_holds import SETTINGS, Outage, assert_all_completed, attempts, free_port

pytestmark = pytest.mark.postgres

PROBES = 3


@pytest.fixture
def outage(database: Database) -> Iterator[Outage]:
    with ExitStack() as undo:
        outage = Outage(database, undo, free_port())
        undo.callback(outage.end_server)
        yield outage


@pytest.mark.parametrize(
    ("step", "workers"),
    [("vision", 2), *(pytest.param("feedback", workers, marks=pytest.mark.second_tier) for workers in (1, 3))],
)
def test_a_model_that_answers_probes_alone_convicts_no_job(outage: Outage, step: str, workers: int) -> None:
    """Calls of several jobs die one after the other between answered probes. All are held, and completed at last."""
    simulator = outage.start_server()
    site = outage.site(simulator)
    model, words = (FEEDBACK_MODEL, "abgabe") if step == "feedback" else (VISION_MODEL, "Bild")
    fleet = site.start_with({**SETTINGS, "worker_concurrency": workers, "worker_max_retries": 0})
    site.until_done(first := site.enter_texts(1))
    simulator.fault("status_500", model, times=10_000, containing=words)
    entered = site.enter_photos(4) if step == "vision" else site.enter_texts(4)
    until(lambda: fleet.metrics()[f'learning_model_probes_total{{step="{step}"}}'] >= PROBES)
    assert attempts(site) == {0}
    simulator.clear_faults()
    assert_all_completed(site, [*first, *entered])
