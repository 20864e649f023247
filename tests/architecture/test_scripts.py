"""Help texts of the scripts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import NAMES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["mutate", "settings", "soak"])
def test_a_script_without_options_answers_a_question_and_does_nothing(name: str, tmp_path: Path) -> None:
    """An unknown argument prints the help and exits with 2 before any work, as this copy of a script could do none."""
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    asked = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode == 2
    assert asked.stderr
    assert all(f"# {line}" in Path(script).read_text() for line in asked.stderr.splitlines())


def test_the_help_of_bench_describes_each_benchmark(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-m", "bench", "--help"], cwd=ROOT, check=True, timeout=60)
    said = {line.split()[0]: line.split()[1:] for line in capfd.readouterr().out.splitlines() if line.startswith("  ")}
    assert [name for name in NAMES if not said.get(name)] == []
