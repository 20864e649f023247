"""The output of the demo, at most 80 columns wide."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.environment import DemoEnvironment
from testkit.results import SubmissionResult
from testkit.submissions import Submission
from testkit.supervisor_process import SupervisorProcess

LOG_LINES = 15
COLUMNS = 80


def progress(
    submissions: Sequence[Submission], results: Sequence[SubmissionResult], status: dict[str, Any], victim_pid: int
) -> RenderableType:
    """Show the workers, a progress bar and the killed worker."""
    done = sum(result.is_final for result in results)
    workers = Table("worker", "pid", "state", "activity", "completed", title=f"{done} of {len(submissions)} submissions are done")
    for worker in status.get("workers", []):
        cells = (worker["slot"], worker["pid"] or "", worker["state"], worker["activity"] or "", worker["totals"]["completed"])
        workers.add_row(*(str(cell) for cell in cells))
    killed = Text(f"worker {victim_pid} was killed with SIGKILL during a vision call" if victim_pid else "", style="red")
    return Group(workers, ProgressBar(total=len(submissions), completed=done, width=60), "", killed)


def results_table(submissions: Sequence[Submission], results: Sequence[SubmissionResult], victim_pid: int) -> Table:
    """Show one row for each submission. The killed worker's pid is red."""
    table = Table(title="Results", box=None, padding=(0, 2, 0, 0), width=COLUMNS)
    table.add_column("submission", ratio=1)
    for name in ("outcome", "worker pids", "seconds"):
        table.add_column(name, no_wrap=True, justify="right" if name == "seconds" else "left")
    for submission, result in zip(submissions, results, strict=True):
        pids = " → ".join(f"[red]{pid}[/]" if pid == victim_pid else str(pid) for pid in result.worker_pids)
        seconds = f"{result.seconds:.1f}" if result.seconds is not None else ""
        outcome = f"failed: {result.error_code}" if result.status == "failed" else result.status
        table.add_row(submission.label, outcome, pids, seconds)
    return table


def one_feedback(submissions: Sequence[Submission], results: Sequence[SubmissionResult]) -> RenderableType:
    """Show the feedback with the most criteria: the pupil's text, and the points of each criterion for the teacher."""
    written = [pair for pair in zip(submissions, results, strict=True) if pair[1].feedback_md and pair[1].analysis_json]
    if not written:
        return Text("no feedback was written", style="red")
    submission, result = max(written, key=lambda pair: len(pair[0].criteria))
    document = result.analysis_json or {}
    criteria = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("criterion", "points", "explanation"):
        criteria.add_column(name, no_wrap=name == "points")
    for judged in document["criteria_results"]:
        criteria.add_row(judged["criterion"], f"{judged['score']} of {judged['max_score']}", judged["explanation_md"])
    title = f"feedback for: {submission.label} · {document['score']} of 5"
    return Panel(Group(Markdown(result.feedback_md or ""), "", criteria), title=title, title_align="left", width=COLUMNS)


def addresses(environment: DemoEnvironment, supervisor: SupervisorProcess, status: dict[str, Any]) -> str:
    """Return plain lines without a frame, which can be copied whole."""
    runtime_directory = supervisor.runtime_directory
    lines = (
        "Still running. Ctrl-C drains and ends everything.",
        f"status     RUNTIME_DIRECTORY={runtime_directory} .venv/bin/learning-supervisor status (or scale, recycle)",
        f"metrics    http://{status.get('metrics_address', '?')}/metrics",
        f"database   {environment.database.admin_dsn}",
        f"files      {environment.storage_root}",
        f"Ollama     {environment.ollama_url}",
        f"log        {supervisor.log_path}",
        f"supervisor pid {supervisor.pid}",
    )
    return "\n".join(lines)


def failure(log: Sequence[str], exit_code: int) -> RenderableType:
    title = f"The demo failed: exit code {exit_code}, end of the log"
    return Panel(Text("\n".join(log[-LOG_LINES:])), title=title, border_style="red", width=COLUMNS)
