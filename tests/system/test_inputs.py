"""Every kind of input and answer from queue to result. All run at the same time: one run, one test for each input."""

import pytest

from testkit.inputs.catalogue import REFUSED, inputs
from testkit.inputs.run import LEAKS, PAGES, READERS, Run, run

pytestmark = pytest.mark.second_tier

LABELS = [*(each.label for each in inputs()), *REFUSED, LEAKS, READERS]


@pytest.fixture(scope="module")
def finished() -> Run:
    return run(inputs())


@pytest.mark.parametrize("label", LABELS)
def test_input(finished: Run, label: str) -> None:
    """The input has one result, with the expected status and error code, and no personal data is published."""
    assert finished.problems[label] == ""


def test_no_worker_is_lost(finished: Run) -> None:
    """No input and no answer ends a worker, and every input has been checked."""
    assert (finished.worker_crashes, len(finished.problems)) == (0, len(LABELS))


def test_a_killed_worker_costs_one_page(finished: Run) -> None:
    """After a kill in a long document only the page at hand is read again."""
    assert finished.vision_calls == PAGES + 1
