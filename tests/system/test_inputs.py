"""Every kind of input and of answer through the whole way, each among all others: one run, one test for each input."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from testkit.inputs.catalogue import REFUSED, inputs
from testkit.inputs.run import KILLED_AT, PAGES

pytestmark = pytest.mark.second_tier

LABELS = [*(each.label for each in inputs()), *REFUSED, "logs, metrics, status and errors"]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    command = [sys.executable, "-m", "testkit.inputs", "--json"]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, timeout=150, check=False)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("label", LABELS)
def test_input(found: dict[str, Any], label: str) -> None:
    """It ends once, with the status and the error code that it must have, and nothing personal is told."""
    (row,) = [row for row in found["rows"] if row["label"] == label]
    assert row["problem"] == ""


def test_no_worker_is_lost(found: dict[str, Any]) -> None:
    """No input and no answer ends a worker; nothing was left out of the account."""
    assert (found["worker_crashes"], found["inputs"], found["unexpected"]) == (0, len(LABELS), 0)


def test_a_killed_worker_costs_one_page(found: dict[str, Any]) -> None:
    """Of a long document only the page that was being read when its worker was killed is asked for twice."""
    assert (found["vision_calls_after_a_kill"], found["vision_calls_saved"]) == (PAGES + 1, KILLED_AT - 1)
