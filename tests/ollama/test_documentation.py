"""docs/simulator.md says what is there: no more, no less."""

import json
import re
import subprocess
import sys

from testkit.ollama_simulator.fault import FaultKind, read_fault
from testkit.ollama_simulator.process import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "simulator.md").read_text()
ORDER = re.compile(r'^\| `(\{"fault": .+?\})` \|', re.MULTILINE)
OPTION = re.compile(r"--[a-z][a-z-]+")


def test_every_fault_has_an_example() -> None:
    """Each kind is shown once, by an order that is accepted."""
    kinds = [read_fault(json.loads(order)).kind for order in ORDER.findall(PAGE)]
    assert sorted(kinds) == sorted(FaultKind)


def test_every_option_is_explained() -> None:
    """The table's options are those of the command."""
    command = [sys.executable, "-m", "testkit.ollama_simulator", "--help"]
    known = OPTION.findall(subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout)
    table = PAGE.partition("\n## Options\n")[2].partition("\n\nSizes ")[0]
    first_column = " ".join(row.split("|")[1] for row in table.splitlines() if row.startswith("|"))
    explained = set(OPTION.findall(first_column))
    assert explained == set(known) - {"--help", "--resurrection-bug"}
