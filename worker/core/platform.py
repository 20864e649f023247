"""Features of the live database beyond the contract of 2025-12. Everything absent is that contract."""

from dataclasses import dataclass

from worker.ipc.contract import ErrorCode

CODES_OF_2025 = frozenset(ErrorCode)


@dataclass(frozen=True, slots=True)
class Platform:
    """Features that were probed on one connection. The defaults are the schema of 2025-12.

    `context_columns`: those of teacher_context_md, hints_md, model_solution_md and instruction_md that the role may read in
    `unit_tasks`, empty without that table. `error_codes`: codes that a failed submission may have.
    """

    records_usage: bool = False
    has_practice: bool = False
    has_dialog: bool = False
    context_columns: frozenset[str] = frozenset()
    error_codes: frozenset[str] = CODES_OF_2025


PLATFORM_OF_2025 = Platform()
