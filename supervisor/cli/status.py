"""The output of `status`: one message per instance, then its figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from supervisor.cli.control_socket import Document
from supervisor.cli.instances import is_silent, not_running
from supervisor.core.policy import MEBIBYTE
from supervisor.wording import byte_size, duration, since, wrapped

_COLOURS = {"ok": "bold green", "degraded": "bold yellow", "draining": "bold yellow", "down": "bold red"}
_COLUMNS = ("worker", "pid", "doing", "job", "done", "MiB (own)", "starts", "crashes")


def show(found: list[Document], directory: Path, console: Console) -> None:
    """Print all instances, wrapped to the console's width."""
    if not found:
        _print(not_running(directory), console, "bold red")
    for document in found:
        _show_instance(document, console)


def _show_instance(document: Document, console: Console) -> None:
    message = document["message"]
    _print(message, console, _COLOURS[document["state"]])
    if is_silent(document):
        _print(f"instance {document['instance']}", console, "italic")
        return
    if document["is_stub"]:
        _print("A stub is in use, every result is invented: set AI_BACKEND=local.", console, "bold red")
    for line in _unknown_settings(document):
        _print(line, console, "bold yellow")
    for line in _admission(document["admission"], message):
        _print(line, console)
    _print(f"instance {document['instance']} · {_figures(document['queue'])}{_last_success(document)}", console, "italic")
    console.print(_table(document))
    for line in _permit_waits(document.get("permit_waits", [])):
        _print(line, console)
    for line in _last_exits(document):
        _print(line, console)
    address = document["metrics_address"]
    _print(f"metrics: http://{address}/metrics" if address else "metrics: not served, STATUS_ADDR is taken", console, "dim")


def _figures(queue: dict[str, Any]) -> str:
    """The counts of jobs. Without a connection the last counts are old, and before the first one they are zeros."""
    if not queue["is_connected"]:
        return "number of submissions unknown without the database"
    return f"{queue['queued']} waiting, {queue['leased']} in work, {queue['failed']} failed"


def _unknown_settings(document: Document) -> Iterator[str]:
    for variable in document.get("unknown_settings", []):
        yield f"{variable['name']} in the environment {variable['remedy']}"


def _last_success(document: Document) -> str:
    seconds = document["progress"]["completed_age_seconds"]
    return "" if seconds is None else f", last completed {duration(seconds)} ago"


def _print(text: str, console: Console, style: str = "") -> None:
    console.print(escape(wrapped(text, console.width, "  ")), style=style, soft_wrap=True, highlight=False)


def _admission(admission: dict[str, Any] | None, message: str) -> Iterator[str]:
    """Memory of Ollama and of this host, anomalies, and the reason for holding back unless `message` contains it."""
    if admission is None:
        return
    ollama = admission["ollama"]
    models = ", ".join(f"{model['name']} {byte_size(model['size_bytes'])}" for model in ollama["models"]) or "no model loaded"
    parts = [
        f"no answer ({ollama['list_error']})" if ollama["list_error"] else models,
        _observed(ollama),
        f"limit {byte_size(ollama['limit_bytes'])}" if ollama["limit_bytes"] else "",
        f"held back: {admission['why']}" if admission["is_holding"] and not _is_named(admission["why"], message) else "",
    ]
    yield f"Ollama: {' · '.join(filter(None, parts))}"
    yield from _host(admission["host"])
    for anomaly in admission["anomalies"]:
        yield f"{anomaly['meaning']}: {anomaly['model']}" if anomaly["model"] else anomaly["meaning"]


def _is_named(why: str, message: str) -> bool:
    """True if the message contains the reason. It has the period between the reason and the remedy in brackets."""
    return why.partition(" (")[0] in message


def _observed(ollama: dict[str, Any]) -> str:
    if ollama["observed_bytes"]:
        return f"{byte_size(ollama['observed_bytes'])} measured"
    return "on another host, whose processes cannot be measured" if ollama["is_remote"] else ""


def _host(host: dict[str, Any]) -> Iterator[str]:
    """Free memory, and the share of time that processes waited for memory: it rises before the OOM killer acts."""
    if host["available_bytes"] is None:
        return
    parts = [
        f"{byte_size(host['available_bytes'])} free",
        f"{byte_size(host['gpu_free_bytes'])} free on the GPU" if host["gpu_free_bytes"] is not None else "",
        f"processes waited for memory in {host['pressure']:.0%} of the last 10 s" if host["pressure"] else "",
    ]
    yield f"this host: {' · '.join(filter(None, parts))}"


def _permit_waits(waits: list[dict[str, Any]]) -> Iterator[str]:
    """Workers that wait for a call to a model, and the workers that have one. Ordinary while the model works."""
    for wait in waits:
        slots, period = wait["slots"], since(wait["since_seconds"])
        waiting = f"workers {', '.join(map(str, slots))} wait" if len(slots) > 1 else f"worker {slots[0]} waits"
        holders = "; ".join(dict.fromkeys(_holder(holder) for holder in wait["holders"]))  # one may have several calls
        yield f"{waiting} for a call to {wait['model']}, {period}. Calls in use: {holders or 'none'}"


def _holder(holder: dict[str, Any]) -> str:
    address = f" at {holder['address']}" if holder["address"] else ""
    session = f", server process {holder['backend_pid']}" if holder["backend_pid"] else ""
    quiet = "" if holder["quiet_seconds"] is None else f", last statement {duration(holder['quiet_seconds'])} ago"
    return f"{holder['name']}{address}{session}{quiet}"


def _table(document: Document) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in _COLUMNS:
        table.add_column(column, no_wrap=True)
    for name, process in _processes(document):
        completed = str(process["totals"]["completed"]) if "totals" in process else ""
        table.add_row(*_row(name.removeprefix("worker "), process, completed))
    return table


def _processes(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    for worker in document["workers"]:
        yield f"worker {worker['slot']}", worker
    yield "monitor", document["monitor"]


def _row(name: str, process: dict[str, Any], completed: str) -> tuple[str, ...]:
    job = (process.get("job_id") or "")[:8]  # enough to find it in the log; --json has all of it
    cells = (process["pid"], _doing(process), job, completed, _memory(process), process["starts"], process["crashes"])
    return (name, *("" if cell is None else str(cell) for cell in cells))


def _doing(process: dict[str, Any]) -> str:
    """The worker's activity with its age, and its state unless that is `running`. A retiring worker leaves after its job."""
    activity, state = process.get("activity"), process["state"]
    if not activity:
        return str(state)
    age_seconds = process.get("activity_seconds")
    doing = str(activity) if age_seconds is None else f"{activity} {duration(age_seconds)}"
    if process.get("is_suspended"):
        doing = f"{doing}, suspended"
    if state == "running":
        return f"{doing}, retiring" if process.get("is_retiring") else doing
    return f"{doing}, {state}"


def _memory(process: dict[str, Any]) -> str | None:
    """Resident memory, and in brackets the part that the worker does not share."""
    rss_bytes, uss_bytes = process.get("rss_bytes"), process.get("uss_bytes")
    if not rss_bytes:
        return None
    own = f" ({uss_bytes / MEBIBYTE:.0f})" if uss_bytes else ""
    return f"{rss_bytes / MEBIBYTE:.0f}{own}"


def _last_exits(document: Document) -> Iterator[str]:
    for name, process in _processes(document):
        if process["last_exit"]:
            yield f"last exit of {name}: {process['last_exit']} ({process['last_cause']})"
