"""What the demo shows in the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from testkit.environment import DemoEnvironment
from testkit.results import SubmissionResult
from testkit.submissions import Submission

LOG_LINES = 15


def progress(
    submissions: Sequence[Submission], results: Sequence[SubmissionResult], status: dict[str, Any], victim_pid: int
) -> RenderableType:
    """Bar, workers, and the kill once it happened."""
    done = sum(result.is_final for result in results)
    workers = Table("worker", "pid", "state", "doing", "completed", title=f"{done} of {len(submissions)} submissions are done")
    for worker in status.get("workers", []):
        cells = (
            worker["slot"],
            worker["pid"] or "",
            worker["state"],
            worker["activity"] or "",
            worker["totals"]["completed"],
        )
        workers.add_row(*(str(cell) for cell in cells))
    killed = Text(f"worker {victim_pid} was killed with SIGKILL in the middle of OCR" if victim_pid else "", style="red")
    return Group(workers, ProgressBar(total=len(submissions), completed=done, width=60), "", killed)


def account_table(submissions: Sequence[Submission], results: Sequence[SubmissionResult], victim_pid: int) -> Table:
    """One row a submission; the killed worker's pid is red."""
    table = Table("submission", "kind", "outcome", "attempts", "worker pids", "seconds", title="What became of each submission")
    for submission, result in zip(submissions, results, strict=True):
        pids = " → ".join(f"[red]{pid}[/]" if pid == victim_pid else str(pid) for pid in result.worker_pids)
        seconds = f"{result.seconds:.1f}" if result.seconds is not None else ""
        table.add_row(submission.label, result.kind, result.outcome, str(len(result.leased_by)), pids, seconds)
    return table


def one_feedback(submissions: Sequence[Submission], results: Sequence[SubmissionResult]) -> RenderableType:
    """The feedback with the most criteria in full: what the pupil reads, and what the teacher sees of each criterion."""
    written = [pair for pair in zip(submissions, results, strict=True) if pair[1].feedback_md and pair[1].analysis_json]
    if not written:
        return Text("no feedback was written", style="red")
    submission, result = max(written, key=lambda pair: len(pair[0].criteria))
    document = result.analysis_json or {}
    criteria = Table("criterion", "points", "why", box=None, padding=(0, 2, 0, 0))
    for result in document["criteria_results"]:
        criteria.add_row(result["criterion"], f"{result['score']} of {result['max_score']}", result["explanation_md"])
    title = f"feedback for: {submission.label} · {document['score']} of 5"
    return Panel(Group(Markdown(result.feedback_md or ""), "", criteria), title=title, title_align="left")


def where_to_look(environment: DemoEnvironment, supervisor_pid: int, status: dict[str, Any]) -> str:
    """Plain lines without a frame, so that each can be copied whole."""
    lines = (
        "Still running: Ctrl-C drains and ends everything.",
        f"status     RUNTIME_DIRECTORY={environment.runtime_directory} .venv/bin/learning-supervisor status (or scale, recycle)",
        f"metrics    http://{status.get('metrics_address', '?')}/metrics",
        f"database   {environment.database.admin_dsn}",
        f"Ollama     {environment.environment['OLLAMA_BASE_URL']}",
        f"log        {environment.log}",
        f"supervisor pid {supervisor_pid}",
    )
    return "\n".join(lines)


def failure(log: Path, exit_code: int) -> RenderableType:
    tail = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return Panel(
        Text("\n".join(tail)), title=f"Not as it should be: exit code {exit_code}; the end of the log", border_style="red"
    )
