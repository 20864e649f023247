"""What came of a trial, for a person or as one JSON object."""

import json
import time
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from testkit.inputs.catalogue import document_of
from testkit.inputs.run import KILLED_AT, PAGES, Trial
from worker.documents.decoder import decoding


def figures(trial: Trial, seconds: float) -> dict[str, Any]:
    return {
        "inputs": len(trial.rows),
        "unexpected": sum(bool(row.problem) for row in trial.rows),
        "worker_crashes": trial.worker_crashes,
        "seconds": round(seconds, 1),
        "pages_per_second": round(_pages_per_second(), 1),
        "vision_calls_after_a_kill": trial.vision_calls,
        "vision_calls_saved": trial.vision_calls_saved,
        "peak_memory_mb": max((row.peak_memory_mb for row in trial.rows if row.peak_memory_mb), default=None),
    }


def as_json(trial: Trial, seconds: float) -> str:
    return json.dumps({**figures(trial, seconds), "rows": [asdict(row) for row in trial.rows]})


def show(trial: Trial, seconds: float, console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("input", "outcome", "error code", "seconds", "peak MB", ""):
        table.add_column(column, no_wrap=True)
    for row in trial.rows:
        verdict = f"[bold red]{row.problem}[/]" if row.problem else "[green]as it must be[/]"
        cells = (row.error_code, row.seconds, row.peak_memory_mb)
        table.add_row(row.label, row.outcome, *("" if cell is None else str(cell) for cell in cells), verdict)
    console.print(table)
    found = figures(trial, seconds)
    console.print(
        f"A document of {PAGES} pages whose worker was killed at page {KILLED_AT}: {trial.vision_calls} calls of the vision"
    )
    console.print(f"model instead of {KILLED_AT + PAGES}; {trial.vision_calls_saved} saved by the checkpoints of its pages.")
    console.print(f"{found['pages_per_second']} pages of a PDF rendered per second; all in {found['seconds']} s.")
    console.print(f"{found['inputs']} inputs: {found['unexpected']} unexpected, {trial.worker_crashes} worker crashes")


def _pages_per_second() -> float:
    document = document_of(PAGES)
    assert isinstance(document.content, bytes)
    began_at_seconds = time.perf_counter()
    with decoding(document.content, "application/pdf", PAGES) as decoded:
        count = sum(1 for _ in decoded)
    return count / (time.perf_counter() - began_at_seconds)
