"""The table of waits names functions and tests that exist, and every module that contains a wait."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [line for line in (ROOT / "docs" / "waits.md").read_text().splitlines() if line.startswith("| `")]
PLACE = re.compile(r"^\| `((?:worker|supervisor)/[\w/]+\.py):(\w+)` \|")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
WAIT = re.compile(
    r"select\.(?:poll|select|epoll)\(|asyncio\.(?:sleep|timeout|timeout_at|wait|wait_for)\(|time\.sleep\(|settimeout\("
    r"|\.wait\(|waitpid\(|waitid\(|\btimeout=[\w.]*[sS][eE][cC][oO][nN][dD][sS]"
)


def test_each_row_names_a_function_and_tests_that_exist() -> None:
    """A function or test that is renamed or removed needs a change of its row."""
    assert [row for row in ROWS if not PLACE.match(row) or not TEST.search(row)] == []
    places = [PLACE.findall(row)[0] for row in ROWS]
    named = [*places, *(found for row in ROWS for found in TEST.findall(row))]
    assert [(file, name) for file, name in named if f"def {name}(" not in _text(file)] == []


def test_each_module_with_a_wait_has_a_row() -> None:
    """A new wait needs an answer to the question what its event does in the instant of the timeout."""
    modules = [path.relative_to(ROOT) for package in ("worker", "supervisor") for path in sorted((ROOT / package).rglob("*.py"))]
    listed = {PLACE.findall(row)[0][0] for row in ROWS}
    assert [str(path) for path in modules if WAIT.search(_text(str(path))) and str(path) not in listed] == []


def _text(file: str) -> str:
    return (ROOT / file).read_text()
