"""What `status` shows: one sentence first, then a table for who wants to know more."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from supervisor.adapters.instance import live_sockets
from supervisor.cli import control_socket
from supervisor.cli.commands import START_REMEDY
from supervisor.core.policy import MEBIBYTE

_COLOURS = {"ok": "bold green", "degraded": "bold yellow", "draining": "bold yellow", "down": "bold red"}


def documents(directory: Path) -> list[dict[str, Any]]:
    """The status document of every instance that answers on its control socket."""
    answers = (control_socket.status(path) for path in live_sockets(directory))
    return [answer for answer in answers if answer is not None]


def show(found: list[dict[str, Any]], directory: Path, console: Console) -> None:
    if not found:
        console.print(f"[bold red]Not running[/]: no instance answers in {directory}.")
        console.print(START_REMEDY)
    for document in found:
        console.print(f"[{_COLOURS[document['state']]}]{document['message']}[/]")
        if document["is_stub"]:
            console.print("[bold red]A stub is in use, every result is invented: set AI_BACKEND=local.[/]")
        if line := _admission(document["admission"], document["message"]):
            console.print(line)
        console.print(_table(document))


def _admission(admission: dict[str, Any] | None, sentence: str) -> str:
    """What Ollama holds, what this host has left, a line for what cannot be believed; the reason, if not in `sentence`."""
    if admission is None:
        return ""
    ollama = admission["ollama"]
    models = ", ".join(f"{model['name']} {_gb(model['size_bytes'])}" for model in ollama["models"]) or "no model loaded"
    unseen = "its processes cannot be seen from here" if ollama["is_remote"] else ""
    seen = f"{_gb(ollama['observed_bytes'])} seen" if ollama["observed_bytes"] else unseen
    limit = f"limit {_gb(ollama['limit_bytes'])}" if ollama["limit_bytes"] else ""
    told = f"no answer ({ollama['silence']})" if ollama["silence"] else models
    held = f"held back: {admission['why']}" if admission["is_holding"] and admission["why"] not in sentence else ""
    notes = (f"{note['meaning']}: {note['model']}" if note["model"] else note["meaning"] for note in admission["notes"])
    return "\n".join([" · ".join(filter(None, (f"Ollama: {told}", seen, limit, held))), *_host(admission["host"]), *notes])


def _host(host: dict[str, Any]) -> list[str]:
    """What is free, and whether anybody waits for memory: before the kernel kills, it lets wait."""
    if host["available_bytes"] is None:
        return []
    card = f"{_gb(host['gpu_free_bytes'])} free on the GPU" if host["gpu_free_bytes"] is not None else ""
    waits = f"memory was waited for {host['pressure']:.0%} of the last 10 s" if host["pressure"] else ""
    return [" · ".join(filter(None, (f"this host: {_gb(host['available_bytes'])} free", card, waits)))]


def _gb(size_bytes: int) -> str:
    """As `ollama ps` has it: powers of ten."""
    return f"{size_bytes / 1e9:.1f} GB"


def _table(document: dict[str, Any]) -> Table:
    queue = document["queue"]
    title = f"instance {document['instance']} · {queue['queued']} waiting, {queue['leased']} in work, {queue['failed']} failed"
    address = document["metrics_address"]
    metrics = f"metrics: http://{address}/metrics" if address else "metrics: not served, STATUS_ADDR is taken"
    table = Table(title=title, title_justify="left", caption=metrics, caption_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("worker", "pid", "doing", "job", "done", "MiB (own)", "starts", "crashes"):
        table.add_column(column, no_wrap=True)
    table.add_column("last exit")
    for worker in document["workers"]:
        table.add_row(*_row(str(worker["slot"]), worker, str(worker["totals"]["completed"])))
    table.add_row(*_row("monitor", document["monitor"], ""))
    return table


def _row(name: str, process: dict[str, Any], completed: str) -> tuple[str, ...]:
    job = (process.get("job_id") or "")[:8]  # enough to find it in the log; --json has all of it
    shown = (process["pid"], _doing(process), job)
    rest = (completed, _memory(process), process["starts"], process["crashes"], _last_exit(process))
    return (name, *("" if value is None else str(value) for value in (*shown, *rest)))


def _doing(process: dict[str, Any]) -> str:
    """What it says it is doing, and what the supervisor knows of it where that is more than that it runs."""
    activity, state = process.get("activity"), process["state"]
    known = (activity, None if activity and state == "running" else state, "retiring" if process.get("is_retiring") else None)
    return ", ".join(word for word in known if word)


def _memory(process: dict[str, Any]) -> str | None:
    """Resident set size, and of that what the worker shares with nobody."""
    rss_bytes, uss_bytes = process.get("rss_bytes"), process.get("uss_bytes")
    if not rss_bytes:
        return None
    own = f" ({uss_bytes / MEBIBYTE:.0f})" if uss_bytes else ""
    return f"{rss_bytes / MEBIBYTE:.0f}{own}"


def _last_exit(process: dict[str, Any]) -> str | None:
    return f"{process['last_exit']} ({process['last_cause']})" if process["last_exit"] else None
