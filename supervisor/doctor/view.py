"""The report as text: memory, speeds, the lines for the service, and at the end the findings."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from supervisor.doctor.environment import EnvironmentLine
from supervisor.doctor.memory_estimate import Term
from supervisor.doctor.run import DoctorReport, MemoryReport
from supervisor.doctor.timeouts import TimeoutEstimate
from supervisor.findings import Finding, Level
from supervisor.findings import show as show_findings
from supervisor.wording import byte_size, wrapped

_NAME_WIDTH, _SIZE_WIDTH = 18, 10
Row = tuple[str, int, str]  # name, bytes, explanation


def show(report: DoctorReport, findings: Sequence[Finding], console: Console) -> None:
    """Print all parts, wrapped to the console's width."""
    if report.memory:
        _show_memory(report.memory, console)
    estimates = [(check.name, estimate) for check in report.models for estimate in check.timeouts]
    if estimates:
        _show_speeds(estimates, console)
    if report.memory:
        _show_service(report.memory.lines, console)
    console.print("[bold]Findings[/]")
    show_findings(findings, console)
    console.print(f"\n{_summary(findings, has_models=bool(report.models))}")


def _show_memory(memory: MemoryReport, console: Console) -> None:
    need = memory.plan.need
    console.print("[bold]Memory needed[/]")
    for use, terms in zip(memory.uses, need.models, strict=True):
        _print(use.model.name, console)
        for term in terms:
            _print_row(_row(term, "  "), console)
        if use.listed_bytes:
            _print_row(("  in `ollama ps`", use.listed_bytes, "without projector and process"), console, "dim")
    _print_row(_row(need.workers), console)
    _print_row(("sum", need.together_bytes, ""), console, "bold")
    for row in _available(memory):
        _print_row(row, console)
    console.print()


def _row(term: Term, indent: str = "") -> Row:
    return f"{indent}{term.what}", term.bytes, term.how


def _available(memory: MemoryReport) -> Iterator[Row]:
    if memory.budget:
        yield "free now", memory.budget.available_bytes, "MemAvailable of this host"
        yield "+ held by Ollama", memory.budget.loaded_bytes, "before this test"
        yield "- spare", memory.budget.spare_bytes, "a tenth of this host's memory"
        yield "available", memory.budget.bytes, ""
    if memory.gpu:
        yield "free on the GPU", memory.gpu.available_bytes, "NVML, all cards"
        yield "+ held by Ollama", memory.gpu.loaded_bytes, "before this test"
        yield "available", memory.gpu.bytes, "the workers are not on the GPU"


def _print_row(row: Row, console: Console, style: str = "") -> None:
    name, size_bytes, explanation = row
    columns = f"{name:<{_NAME_WIDTH}}{byte_size(size_bytes):>{_SIZE_WIDTH}}  "
    _print(wrapped(columns + explanation, console.width, " " * len(columns)), console, style)


def _show_speeds(estimates: Sequence[tuple[str, TimeoutEstimate]], console: Console) -> None:
    console.print("[bold]Measured speeds[/]")
    for name, each in estimates:
        read = f"{each.prompt_seconds:.1f} s to read {each.prompt_tokens} tokens"
        answer_seconds = each.answer_tokens / each.tokens_per_second
        write = f"{each.answer_tokens} tokens at {each.tokens_per_second:.1f} tokens/s = {answer_seconds:.1f} s"
        whole = f"{each.needed_seconds:.1f} s of {each.timeout_seconds} s (AI_TIMEOUT_{each.step.name})"
        _print(wrapped(f"{name}: {read} + {write}: {whole}", console.width, "  "), console)
    console.print()


def _show_service(lines: Sequence[EnvironmentLine], console: Console) -> None:
    console.print("[bold]For the Ollama service[/]")
    _print(
        wrapped("# Run `systemctl edit ollama`, insert these lines, then run `systemctl restart ollama`.", console.width, "# "),
        console,
    )
    _print("[Service]", console)
    for line in lines:
        _print(wrapped(f"# {line.reason}", console.width, "# "), console, "dim")
        _print(f"Environment={line}", console)
    console.print()


def _print(text: str, console: Console, style: str = "") -> None:
    console.print(escape(text), style=style, soft_wrap=True, highlight=False)


def _summary(findings: Sequence[Finding], *, has_models: bool) -> str:
    failed = sum(finding.level is Level.FAILED for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if failed:
        return f"[bold red]Jobs would fail[/]: {failed} to correct first"
    result = "[green]Ollama can do this work[/]" if has_models else "No model was tested"
    return f"{result}{f'; {warnings} to check' if warnings else ''}"
