"""Prerequisites of an adapter of another package, by its source."""

import importlib
from pathlib import Path

import pytest

from worker.adapters.prerequisites import missing_for

AS_OF_2025 = "def build():\n    import dspy\n"
AS_OF_2026 = 'ADDRESS = "OPENAI_BASE_URL"\n' + AS_OF_2025
WITHOUT_LIBRARY = "def build():\n    import json\n"


@pytest.mark.parametrize(("source", "expected"), [(AS_OF_2025, True), (AS_OF_2026, False), (WITHOUT_LIBRARY, False)])
def test_adapters_of_2025_need_a_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: bool) -> None:
    """Those of 2026 configure the library themselves, which their setting shows."""
    name = f"adapter_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(name)
    assert missing_for(name).needs_setup is expected
