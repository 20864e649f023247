"""The README names what exists: every module in its map, every metric in its table, every file it links to."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from supervisor.monitor.metrics import Metrics
from supervisor.monitor.sight import Sight
from worker.scoreboard import Scoreboard

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAPPED = re.compile(r"^((?:supervisor|worker|demo)/\S+\.py) +\S", re.MULTILINE)
METRIC_ROW = re.compile(r"^\| `(\w+?)(?:_total)?(?:\{\w+\})?` \|", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def modules() -> list[str]:
    """An empty __init__.py is the mark of a package, not a module to look into."""
    found = (path for package in ("supervisor", "worker", "demo") for path in (ROOT / package).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found if path.stat().st_size)


def test_the_map_names_exactly_the_modules_that_exist() -> None:
    """Each once: whoever adds, moves or removes a module says so in the map."""
    assert sorted(MAPPED.findall(README)) == modules()


def test_the_metrics_table_names_exactly_what_a_scrape_gets() -> None:
    section = README.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    exposition = Metrics(Scoreboard(), Sight()).exposition().decode()
    assert sorted(METRIC_ROW.findall(section)) == sorted(family.name for family in text_string_to_metric_families(exposition))


def test_every_link_leads_to_a_file() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    targets = [(document, target) for document in documents for target in LINK.findall(document.read_text())]
    assert [target for document, target in targets if not (document.parent / target).exists()] == []
