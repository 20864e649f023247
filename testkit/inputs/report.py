"""The results of a run of all inputs, as a table or as one JSON object."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from testkit.inputs.catalogue import document_of
from testkit.inputs.input import Input
from testkit.inputs.peak import peak_bytes
from testkit.inputs.run import KILLED_AT, PAGES, Run
from worker.documents.decoder import decoding


def document(finished: Run, given: Sequence[Input], seconds: float) -> dict[str, Any]:
    """Return the figures, and a row for each input with the memory of the decoder for its file."""
    peaks = {each.label: _peak_mb(each.submission.content) for each in given if isinstance(each.submission.content, bytes)}
    rows = [{**asdict(row), "peak_memory_mb": peaks.get(row.label)} for row in finished.rows]
    return {
        "inputs": len(rows),
        "unexpected": sum(bool(row.problem) for row in finished.rows),
        "worker_crashes": finished.worker_crashes,
        "seconds": round(seconds, 1),
        "pages_per_second": round(_pages_per_second(), 1),
        "vision_calls_after_a_kill": finished.vision_calls,
        "vision_calls_saved": KILLED_AT + PAGES - finished.vision_calls,
        "peak_memory_mb": max((peak for peak in peaks.values() if peak), default=None),
        "rows": rows,
    }


def show(found: dict[str, Any], console: Console) -> None:
    table = Table("input", "outcome", "error code", "reason", "seconds", "peak MB", "problem", box=None)
    for row in found["rows"]:
        cells = (row[key] for key in ("label", "outcome", "error_code", "reason", "seconds", "peak_memory_mb", "problem"))
        table.add_row(*("" if cell is None else f"{cell:.1f}" if isinstance(cell, float) else cell for cell in cells))
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in found.items() if name != "rows"))


def _peak_mb(content: bytes) -> float | None:
    peak = peak_bytes(content)
    return round(peak / 1e6, 1) if peak else None


def _pages_per_second() -> float:
    content = document_of(PAGES).content
    assert isinstance(content, bytes)
    began_at_seconds = time.perf_counter()
    with decoding(lambda: content, PAGES) as decoded:
        count = sum(1 for _ in decoded)
    return count / (time.perf_counter() - began_at_seconds)
