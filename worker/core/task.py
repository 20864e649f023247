"""The task of a submission: what the pupil was asked, what the teacher wants to be judged, and a solution for practice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOLUTION_HEADING = "Verbindliche Musterlösung:"  # the platform's line, which its adapters expect


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A row of `unit_tasks`. None for what the role may not read, and for a row that is hidden or gone."""

    instruction_md: str | None = None
    teacher_context_md: str | None = None
    model_solution_md: str | None = None


NO_TASK = TaskRow()


@dataclass(frozen=True, slots=True)
class Task:
    """The task as the feedback adapter gets it. `teacher_context_md` is confidential."""

    criteria: tuple[str, ...]
    instruction_md: str | None = None
    teacher_context_md: str | None = None


def practice_attempt_of(payload: Any) -> str | None:
    """Return the id of the practice attempt for which the job was made. None for every other job."""
    attempt = payload.get("practice_attempt_id") if isinstance(payload, Mapping) else None
    return str(attempt) if attempt else None


def is_read_from_the_table(payload: Mapping[str, Any], columns: frozenset[str]) -> bool:
    """Report whether the task's row says more than the payload. A payload of 2025-12 has the hints of that schema's table."""
    return bool(columns) and ("hints_md" not in payload or bool(columns & {"teacher_context_md", "model_solution_md"}))


def task_of(payload: Mapping[str, Any], criteria: tuple[str, ...], row: TaskRow) -> Task:
    """Return the task, with the instruction of the payload, else of the row, and the context of the row, else of the payload."""
    context = row.teacher_context_md or _text(payload.get("hints_md"))
    if practice_attempt_of(payload) and row.model_solution_md:
        solution = f"{SOLUTION_HEADING}\n{row.model_solution_md}"
        context = f"{context}\n\n{solution}" if context else solution
    return Task(criteria, _text(payload.get("instruction_md")) or row.instruction_md, context)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
