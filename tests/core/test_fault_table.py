"""The table of faults: each class of ours has its row, and docs/faults.md prints it."""

import inspect
import re
from pathlib import Path

import pytest

import worker.documents.decoder
import worker.documents.errors
import worker.ollama.errors
from supervisor.admission.store import STORE_ERRORS
from worker.core import errors as core_errors
from worker.core.faults import ANY_OTHER, ROWS, Fault, row_of
from worker.core.file_refusals import REASONS, KeyRefused
from worker.core.ladder import RUNGS
from worker.ollama.error_status import error_for_status

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
ABSTRACT = {"ServerFailed", "FileUnavailable", "_ChildDied"}  # never raised, or never seen outside of its module
MODULES = (core_errors, worker.ollama.errors, worker.documents.errors, worker.documents.decoder)
OURS: set[type[Exception]] = {
    each
    for module in MODULES
    for _, each in inspect.getmembers(module, inspect.isclass)
    if issubclass(each, Exception) and each.__module__ == module.__name__
}


@pytest.mark.parametrize("error_class", sorted(OURS, key=str), ids=lambda each: each.__qualname__)
def test_each_class_of_ours_has_a_row_of_its_own(error_class: type[Exception]) -> None:
    """A new class must not get the fault of its base class unnoticed."""
    assert error_class.__name__ in ABSTRACT or row_of(error_class).name == error_class.__name__


def test_each_failure_of_a_file_is_known_to_the_hold_of_pictures() -> None:
    """The rules of the hold know the classes by their names only."""
    files = {each.__name__ for each in OURS if issubclass(each, worker.documents.errors.FileUnavailable)}
    assert files - ABSTRACT == STORE_ERRORS


@pytest.mark.parametrize("reason", REASONS)
def test_a_refused_file_is_the_fault_of_the_input(reason: str) -> None:
    """No later try reads it. A reason that is not the pupil's fault has a row of its own."""
    row = row_of(REASONS[reason])
    assert (row.fault, row.name) == (Fault.INPUT, "KeyRefused" if reason == KeyRefused.reason else "FileRefused")


@pytest.mark.parametrize("status", [503, 429])
def test_a_rate_limit_is_a_server_without_room(status: int) -> None:
    """A proxy before the server answers 429 where Ollama answers 503."""
    assert row_of(type(error_for_status(status, b""))).fault is Fault.SURROUNDINGS


def test_the_page_prints_the_table() -> None:
    """docs/faults.md has each row of the code in the same words, and no other."""
    section = PAGE.read_text().partition("## Whose fault")[2].partition("\n## ")[0]
    printed = re.findall(r"^\| `?([\w ]+?)`? \| (\w+) \| (.+) \|$", section, re.MULTILINE)
    assert printed[1:] == [(row.name, row.fault.value, row.because) for row in ROWS]


def test_the_page_prints_the_ladder() -> None:
    """docs/faults.md has the rungs of the code with their temperatures, in order."""
    printed = re.findall(
        r"^\| `([\w.]+)` \| (\d)\D* \| ([\d.]+) \|", PAGE.read_text().partition("## The ladder")[2], re.MULTILINE
    )
    assert printed == [(rung.name, str(number), f"{rung.temperature:g}") for number, rung in enumerate(RUNGS)]


def test_the_table_is_one_decision_per_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert ROWS[-1] is ANY_OTHER
    assert {row.fault for row in ROWS} == set(Fault)
