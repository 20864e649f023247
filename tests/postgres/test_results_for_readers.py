"""The demo and the inputs judge each result in their database by the rules of the platform's readers."""

from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from demo.environment import DemoEnvironment
from demo.scenario import DemoRun
from testkit.filled_queue import FilledQueue
from testkit.inputs.run import readers_row
from testkit.submissions import demo_submissions
from worker.core.outcome import Completed, Lease
from worker.queue.settle import settle

FAULT = "a score is no whole number from 0 to 10 of 10"


@pytest.mark.parametrize(("score", "faults"), [(10, []), (11, [FAULT])])
def test_a_result_that_readers_show_wrongly_is_counted(queue: FilledQueue, score: int, faults: list[str]) -> None:
    """A score that the database takes and a reader does not makes the demo and the inputs fail."""
    result = {"criterion": "a", "score": score, "max_score": 10, "explanation_md": "Weil."}
    analysis = {"schema": "criteria.v2", "score": 5, "criteria_results": [result]}
    entered = queue.enter(payload={"criteria": ["a"]}, leased_for_seconds=60)
    lease = Lease(entered.job_id, entered.submission_id, entered.lease_key or uuid4(), {}, 0)
    assert settle(queue.worker, lease, Completed("Text", "Gut.", analysis))
    ended = DemoRun(demo_of(queue), cast(Any, None), demo_submissions()[:1], [entered.submission_id])
    ended.update_results()
    assert (ended.unreadable, ended.is_as_expected) == (faults, not faults)
    assert readers_row(queue.owner).problem == ", ".join(f"{entered.submission_id}: {fault}" for fault in faults)


def demo_of(queue: FilledQueue) -> DemoEnvironment:
    return DemoEnvironment(queue.database, queue.owner, "", Path(), is_simulated=True)
