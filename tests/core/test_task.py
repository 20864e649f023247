"""The task that the feedback adapter gets, from the payload and the platform's row."""

from typing import Any

import pytest

from worker.core.task import NO_TASK, TaskRow, is_read_from_the_table, practice_attempt_of, task_of

ROW = TaskRow("instruction of the row", "context of the row", "solution")
NEW = frozenset({"instruction_md", "teacher_context_md", "model_solution_md"})
OLD = frozenset({"instruction_md", "hints_md"})


@pytest.mark.parametrize(
    ("payload", "row", "instruction_md", "context_md"),
    [
        ({}, NO_TASK, None, None),
        ({"instruction_md": "payload"}, ROW, "payload", "context of the row"),
        ({"instruction_md": None}, ROW, "instruction of the row", "context of the row"),
        ({"instruction_md": "payload", "hints_md": "hints"}, NO_TASK, "payload", "hints"),
        ({"instruction_md": 3, "hints_md": ["x"]}, NO_TASK, None, None),
    ],
)
def test_the_row_adds_to_the_payload(
    payload: dict[str, Any], row: TaskRow, instruction_md: str | None, context_md: str | None
) -> None:
    """The payload's instruction and the row's context count first, and each stands in for the other."""
    task = task_of(payload, ("a",), row)
    assert (task.criteria, task.instruction_md, task.teacher_context_md) == (("a",), instruction_md, context_md)


def test_a_solution_is_for_practice_alone() -> None:
    """The model solution follows the context under the platform's line, and only for a practice attempt."""
    practice = {"practice_attempt_id": "1"}
    both = task_of(practice, (), ROW)
    alone = task_of(practice, (), TaskRow(model_solution_md="solution"))
    assert both.teacher_context_md == "context of the row\n\nVerbindliche Musterlösung:\nsolution"
    assert alone.teacher_context_md == "Verbindliche Musterlösung:\nsolution"
    assert practice_attempt_of(practice) == "1"
    assert practice_attempt_of({"practice_attempt_id": ""}) is practice_attempt_of(None) is None


@pytest.mark.parametrize(
    ("payload", "columns", "is_read"),
    [
        ({}, frozenset[str](), False),  # the schema of 2025-12, as the standalone one
        ({"hints_md": None}, OLD, False),  # a job of 2025-12 on the platform's schema of 2025-12
        ({}, OLD, True),
        ({"hints_md": None}, NEW, True),
    ],
)
def test_a_job_of_2025_costs_no_further_read(payload: dict[str, Any], columns: frozenset[str], is_read: bool) -> None:
    """The table is read only where it says more than the payload."""
    assert is_read_from_the_table(payload, columns) is is_read
