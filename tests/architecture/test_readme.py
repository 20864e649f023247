"""The README names what exists: every metric in its table, every file it links to."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from supervisor.monitor import status
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.state import MonitorState
from worker.ipc.scoreboard import Scoreboard

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
METRIC_ROW = re.compile(r"^\| `(\w+?)(?:_total)?(?:\{[\w,]+\})?` \|", re.MULTILINE)
SENTENCE_ROW = re.compile(r"^\| `([^`]+)`", re.MULTILINE)
BEGINNING = re.compile(r"`([A-Z0-9][^`]+)`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_the_metrics_table_names_exactly_what_a_scrape_gets() -> None:
    section = README.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    exposition = Metrics(Scoreboard(), MonitorState()).exposition().decode()
    assert sorted(METRIC_ROW.findall(section)) == sorted(family.name for family in text_string_to_metric_families(exposition))


def table(heading: str) -> str:
    return README.partition(f"\n## {heading}\n")[2].partition("\n#")[0]


def test_every_sentence_of_the_status_is_explained() -> None:
    """All words of the functions that return a verdict, and of admission, stand in the table of messages."""
    kinds = (status.Verdict, status.Verdict | None)
    checks = [each for each in vars(status).values() if inspect.isfunction(each) and each.__annotations__["return"] in kinds]
    sources: list[Callable[..., object]] = [*checks, AdmissionView.trouble]
    trees = (ast.parse(textwrap.dedent(inspect.getsource(source))) for source in sources)
    words = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    said = {part for part in words if isinstance(part, str) and " " in part and part not in {each.__doc__ for each in sources}}
    assert said
    assert [part for part in said if part not in table("What `status` says")] == []


def test_the_first_screen_knows_every_sentence() -> None:
    """What to do stands at the top for each sentence that is explained further down."""
    beginnings = tuple(BEGINNING.findall(re.sub(r"\|[^|]*\|$", "", table("Does it work?"), flags=re.MULTILINE)))
    explained = SENTENCE_ROW.findall(table("What `status` says"))
    assert explained
    assert [sentence for sentence in explained if not sentence.startswith(beginnings)] == []


def test_every_link_leads_to_a_file() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    targets = [(document, target) for document in documents for target in LINK.findall(document.read_text())]
    assert [target for document, target in targets if not (document.parent / target).exists()] == []
