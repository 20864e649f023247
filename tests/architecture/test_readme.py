"""The README and the pages agree with the code: links, commands, status messages, log words and metrics."""

import ast
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from bench.__main__ import NAMES
from supervisor.admission.anomalies import AnomalyKind
from supervisor.admission.decision import HoldReason
from supervisor.cli.main import main
from supervisor.core.actions import Kill, Retire, Spawn, Terminate
from supervisor.core.fleet import ActionReason, ExitCause, ReloadProblem
from supervisor.monitor.left_queued import REMEDIES
from testkit.metrics_page import metrics_page
from testkit.platform.page import cases_page
from worker.ipc.contract import EventKind, Obstacle

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = sorted([README, ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
MOST_LINES = 200
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CITATION = re.compile(r"ollama-api\.md ((?:\d+(?:\.\d+)?(?:, | and )?)+)")
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"learning-supervisor ([a-z]+)")
BENCHMARK = re.compile(r"scripts/bench ([a-z_]+)")
SCRIPT = re.compile(r"\bscripts/\w+|\.ci/run")
STATUS_SOURCES = (
    "supervisor/monitor/status.py",
    "supervisor/monitor/outages.py",
    "supervisor/monitor/ollama/view.py",
    "supervisor/cli/instances.py",
)


def read(name: str) -> str:
    return (DOCS / name).read_text()


def anchors(page: Path) -> set[str]:
    """Anchors that a heading gets on the usual hosts: lower case, spaces as dashes, no other signs."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(page.read_text())}


def constants(source: str) -> Iterator[str]:
    """Strings of a module, without its docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def messages(path: str) -> list[str]:
    """Parts of status messages: strings of several words in the module."""
    return [part.strip() for part in constants((ROOT / path).read_text()) if re.search(r"[a-z]{2,} [a-z]|^ [a-z]{3}", part)]


def shown_lines() -> Iterator[str]:
    """Parts of the lines that the command `status` adds in red."""
    for node in ast.walk(ast.parse((ROOT / "supervisor/cli/status.py").read_text())):
        match node:
            case ast.Call(func=ast.Name(id="_print"), args=[text, _, ast.Constant(value="bold red")]):
                yield from (part.strip() for part in constants(f"[{ast.unparse(text)}]") if part.strip(" ."))


def status_table() -> str:
    return read("operations.md").partition("\n## What `status` says\n")[2].partition("\n## ")[0]


def explained(table: str, word: str) -> bool:
    return f"`{word}`" in table


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_heading_of_a_file(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or file.suffix != ".md" or anchor in anchors(file), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page: Path) -> None:
    blocks = "\n".join(SHELL.findall(page.read_text()))
    assert set(COMMAND.findall(blocks)) <= set(main.commands)
    scripts = set(SCRIPT.findall(page.read_text()))
    assert [script for script in scripts if not (ROOT / script).is_file()] == []
    assert set(BENCHMARK.findall(page.read_text())) <= set(NAMES)


def test_the_readme_has_each_command_in_its_table() -> None:
    rows = re.findall(r"^\| `([a-z]+)", README.read_text(), re.MULTILINE)
    assert set(main.commands) <= set(rows)


def test_every_status_message_has_a_row() -> None:
    """A new or changed message needs its row in docs/operations.md, a new reason to hold work back one in docs/ollama.md."""
    table = (status_table() + read("ollama.md")).replace("`", "")
    parts = [part.replace("`", "") for path in STATUS_SOURCES for part in messages(path)]
    assert len(parts) > 20
    assert len(list(shown_lines())) == 1
    assert [part for part in (*parts, *shown_lines()) if part not in table] == []
    assert [problem.value for problem in ReloadProblem if problem.value not in table] == []


def test_every_cause_of_a_job_that_stays_queued_has_a_row() -> None:
    """A new obstacle needs its row with the remedy that `status` and `check` name."""
    table = read("operations.md").partition("\n## Jobs that stay queued\n")[2].partition("\n## ")[0]
    assert [cause for cause, remedy in REMEDIES.items() if not explained(table, cause) or not explained(table, remedy)] == []
    assert set(REMEDIES) == set(Obstacle)


def test_each_status_message_has_one_row() -> None:
    """The rows form one table below its head, so none of them is lost in the text."""
    lines = status_table().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|---")) + 1
    rows = list(takewhile(lambda line: line.startswith("|"), lines[first:]))
    assert [line for line in lines[first + len(rows) :] if line.startswith("|")] == []
    beginnings = [row[:100] for row in rows]
    assert len(set(beginnings)) == len(beginnings)


@pytest.mark.parametrize("name", ["operations.md", "ollama.md", "faults.md", "testing.md"])
def test_no_table_has_two_rows_for_one_thing(name: str) -> None:
    """A reader stops at the first row. The words in brackets are examples."""
    for table in read(name).split("\n\n"):
        cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ") and " | " in line]
        subjects = [re.sub(r"\([^)]*\)", "", cell) for cell in cells]
        assert [each for each in subjects if each.strip("| ") and subjects.count(each) > 1] == []


def test_every_reason_to_hold_work_back_has_a_row() -> None:
    table = read("ollama.md")
    reasons = set(HoldReason) - {HoldReason.NONE}
    assert [reason.name for reason in reasons if not explained(table, reason.name.lower())] == []
    assert [kind.value for kind in AnomalyKind if not explained(table, kind.value)] == []


def test_every_log_word_has_a_row() -> None:
    """Events, reasons of an action and causes of an exit."""
    table = read("log.md")
    events = [*(kind.value for kind in EventKind), *logged_events()]
    events += (action.__name__.lower() for action in (Spawn, Terminate, Kill, Retire))
    words = [*events, *(reason.value for reason in ActionReason), *(cause.word for cause in ExitCause)]
    assert [word for word in words if not explained(table, word)] == []


def logged_events() -> Iterator[str]:
    """Events that the code logs by `_line(level, event)` or `monitor(level, event)`."""
    for path in (ROOT / "supervisor").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="_line" | "monitor"), args=[_, ast.Constant(value=str(event)), *_]):
                    yield event


def test_every_citation_has_its_section() -> None:
    """Comments cite the facts of Ollama's API by the number of their section."""
    numbers = {heading.split()[0] for heading in HEADING.findall(read("ollama-api.md"))}
    sources = [path for root in ("supervisor", "worker", "testkit", "tests") for path in (ROOT / root).rglob("*.py")]
    cited = [
        number for path in sources for found in CITATION.findall(path.read_text()) for number in re.findall(r"[\d.]+", found)
    ]
    assert len(cited) > 20
    assert set(cited) - numbers == set()


def test_the_metrics_page_is_current() -> None:
    """A change of a metric needs a run of scripts/settings."""
    assert read("metrics.md") == metrics_page()


def test_the_page_of_cases_is_current() -> None:
    """A change of the cases of scripts/platform, or of what each must write, needs a run of scripts/settings."""
    assert read("platform-cases.md") == cases_page()
