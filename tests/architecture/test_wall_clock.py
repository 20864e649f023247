"""No time of a host gets into a lease. Ruff bans the wall clock too, but not in files that may use something else it bans."""

import ast
import re
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOURNAL = "supervisor/event_log.py"  # shows when a line was written
SUSPENSION = "worker/suspension.py"  # subtracts one clock since the boot from another
MONOTONIC = {"monotonic", "monotonic_ns", "perf_counter", "process_time", "sleep"}
MODULES = sorted(str(path.relative_to(ROOT)) for name in ("supervisor", "worker") for path in (ROOT / name).rglob("*.py"))
TIME_FROM_US = re.compile(r"%\(\w+\)s::(timestamp|date|time)|%\(\w*(_at|until)\)s")
PLACE = "%(position)s::timestamptz"  # the visible_at of an earlier answer, in the server's own words


def wall_clocks(source: str) -> list[str]:
    """Imports from `time` except the monotonic clocks, `time` under another name, and any use of `datetime`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                found += [name.name for name in names if name.name == "datetime" or (name.name == "time" and name.asname)]
            case ast.ImportFrom(module="datetime" | "time" as module, names=names):
                found += [f"{module}.{name.name}" for name in names if name.name not in MONOTONIC]
            case ast.Attribute(ast.Name("time"), attribute) if attribute not in MONOTONIC:
                found.append(f"time.{attribute}")
    return found


@pytest.mark.parametrize("module", sorted(set(MODULES) - {JOURNAL, SUSPENSION}))
def test_a_module_has_no_wall_clock(module: str) -> None:
    """Whatever it decides or writes, it cannot know what time the host thinks it is."""
    assert wall_clocks((ROOT / module).read_text()) == []


def test_a_wall_clock_would_be_found() -> None:
    """Each way to read a wall clock is found. The event log reads one."""
    sources = ("import time\ntime.time()", "import time as t\nt.time()", "from time import time_ns")
    for source in (*sources, "from datetime import datetime", "import datetime"):
        assert wall_clocks(source)
    assert wall_clocks((ROOT / JOURNAL).read_text()) == ["datetime"]
    clocks = ["time.CLOCK_BOOTTIME", "time.CLOCK_MONOTONIC", "time.clock_gettime", "time.clock_gettime"]
    assert sorted(wall_clocks((ROOT / SUSPENSION).read_text())) == clocks


def test_no_statement_takes_a_time_from_us() -> None:
    """Durations go to the database, which adds them to its own clock; a place in the queue goes back as it came."""
    statements = {file.name: file.read_text() for file in files("worker.queue").joinpath("sql").iterdir()}
    assert [name for name, text in statements.items() if TIME_FROM_US.search(text.replace(PLACE, ""))] == []
