"""Run one benchmark and print its figures with the machine's: scripts/bench NAME [--json]."""

import argparse
import ast
import importlib
import json
import os
import platform
from pathlib import Path

from rich.console import Console
from rich.table import Table

NAMES = {
    "admission": "bench.admission",
    "backlog": "bench.backlog",
    "damaged": "bench.damaged",
    "efficiency": "bench.efficiency",
    "idle": "bench.idle",
    "instances": "bench.instances",
    "legibility": "bench.legibility",
    "memory": "bench.memory",
    "overhead": "bench.overhead",
    "pickup": "bench.pickup",
    "queue": "bench.queue",
    "recovery": "bench.job_recovery",
    "rendering": "bench.rendering",
    "respawn": "bench.respawn",
    "snapshot": "bench.open_snapshot",
    "soak": "bench.soak",
    "typed": "bench.typed_documents",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, epilog=_purposes(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(NAMES), metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rows", type=int, help="for backlog: length of the long queue (1000000)")
    arguments = parser.parse_args()
    if arguments.rows and arguments.name != "backlog":
        parser.error("--rows is only for backlog")
    chosen = {"rows": arguments.rows} if arguments.rows else {}
    figures = {**importlib.import_module(NAMES[arguments.name]).measure(**chosen), **_environment()}
    if arguments.json:
        print(json.dumps(figures))
    else:
        _show(arguments.name, figures)


def _purposes() -> str:
    """Return the first line of each benchmark's docstring, read without the import, which may take a second."""
    lines = (f"  {name:<12}{_first_line(module)}" for name, module in NAMES.items())
    return "\n".join(["names:", *lines])


def _first_line(module: str) -> str:
    source = Path(__file__).with_name(f"{module.rpartition('.')[2]}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _environment() -> dict[str, object]:
    return {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def _show(name: str, figures: dict[str, object]) -> None:
    table = Table("what", "figure", title=name)
    for key, value in figures.items():
        table.add_row(key, str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
