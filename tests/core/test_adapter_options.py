"""The options that a method of a feedback adapter gets, by its signature."""

from typing import Any

import pytest

from worker.adapters.loading import options_of


class Adapter:
    def analyze(self, *, text_md: str, criteria: list[str], hints_md: str | None = None) -> None: ...

    def analyze_visual(
        self, *, criteria: list[str], instruction_md: str, teacher_context_md: str, hints_md: str = ""
    ) -> None: ...

    def analyze_dialog(self, *, criteria: list[str], instruction_md: str, attempt: int = 0) -> None: ...

    def analyze_all(self, **given: Any) -> None: ...


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("analyze", {"hints_md"}),
        ("analyze_visual", {"instruction_md", "teacher_context_md"}),
        ("analyze_dialog", {"instruction_md", "attempt"}),
        ("analyze_all", {"instruction_md", "hints_md"}),
        ("analyze_none", set[str]()),
    ],
)
def test_an_option_is_given_by_its_name(method: str, options: set[str]) -> None:
    """The teacher's context goes into the parameter of 2026, and into that of 2025-12 only without the other."""
    assert options_of(Adapter(), method) == options
