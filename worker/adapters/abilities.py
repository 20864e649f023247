"""The jobs that two adapters can do, by the methods that they have."""

from typing import Any

from worker.core.abilities import ABILITIES_OF_2025, PROGRAM_FILES, Abilities
from worker.core.modes import Mode
from worker.settings import WorkerSettings

_METHODS = {Mode.VISUAL_DIRECT: "analyze_visual", Mode.DIALOG: "analyze_dialog"}  # of the feedback adapter


def abilities_of(vision_adapter: Any, feedback_adapter: Any, settings: WorkerSettings, *, has_practice: bool) -> Abilities:
    """Return what the adapters can do. Typed text and pages are the contract of every adapter."""
    more = {mode for mode, method in _METHODS.items() if callable(getattr(feedback_adapter, method, None))}
    return Abilities(
        ABILITIES_OF_2025.modes | more,
        has_practice,
        program_files=_program_files(vision_adapter, feedback_adapter),
        skips_tests=settings.worker_skip_pytest_jobs,
        test_run_id=settings.worker_test_run_id,
    )


def _program_files(vision_adapter: Any, feedback_adapter: Any) -> frozenset[str]:
    """Return the program files that a vision adapter names in `program_files`.

    The platform's own adapter names none and takes all since 2026, when the feedback adapter of its package got `analyze_visual`.
    Ours reads pages.
    """
    named = getattr(vision_adapter, "program_files", None)
    if isinstance(named, set | frozenset | tuple | list):
        return frozenset(PROGRAM_FILES.values()).intersection(named)
    packages = {type(each).__module__.rpartition(".")[0] for each in (vision_adapter, feedback_adapter)}
    is_of_2026 = len(packages) == 1 and callable(getattr(feedback_adapter, "analyze_visual", None))
    is_ours = hasattr(vision_adapter, "pages")
    return frozenset(PROGRAM_FILES.values()) if is_of_2026 and not is_ours else frozenset()
