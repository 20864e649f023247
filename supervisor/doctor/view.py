"""The examination for a person: the sum, the speeds, the lines for the service, and at the end what to do."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from supervisor.doctor.environment import EnvironmentLine
from supervisor.doctor.memory import shown
from supervisor.doctor.run import DoctorReport, Memory
from supervisor.doctor.timeouts import TimeoutEstimate
from supervisor.findings import Finding, Level
from supervisor.findings import show as show_findings


def show(examination: DoctorReport, findings: Sequence[Finding], console: Console) -> None:
    if examination.memory:
        _show_memory(examination.memory, console)
    paces = [(patient.name, pace) for patient in examination.patients for pace in patient.paces]
    if paces:
        _show_paces(paces, console)
    if examination.memory:
        _show_service(examination.memory.lines, console)
    console.print("[bold]What was found[/]")
    show_findings(list(findings), console)
    console.print(f"\n{_sentence(findings)}")


def _show_memory(memory: Memory, console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for use, terms in zip(memory.uses, memory.plan.need.models, strict=True):
        table.add_row(f"[bold]{escape(use.model.name)}[/]")
        for term in terms:
            table.add_row(f"  {term.what}", shown(term.bytes), escape(term.how))
        if use.listed_bytes:
            table.add_row("[dim]  in `ollama ps`[/]", f"[dim]{shown(use.listed_bytes)}[/]", "without projector and process")
    workers, need = memory.plan.need.workers, memory.plan.need
    table.add_row(workers.what, shown(workers.bytes), escape(workers.how))
    table.add_row("[bold]sum[/]", f"[bold]{shown(need.together_bytes)}[/]")
    for row in _what_there_is(memory):
        table.add_row(*row)
    console.print("[bold]The memory sum[/]")
    console.print(table)
    console.print()


def _what_there_is(memory: Memory) -> Iterator[tuple[str, ...]]:
    if memory.budget:
        yield "free now", shown(memory.budget.available_bytes), "MemAvailable of this host"
        yield "+ held by Ollama", shown(memory.budget.loaded_bytes), "before this look"
        yield "- to spare", shown(memory.budget.spare_bytes), "a tenth of this host's memory"
        yield "[bold]there is[/]", f"[bold]{shown(memory.budget.bytes)}[/]"
    if memory.gpu:
        yield "free on the GPU", shown(memory.gpu.available_bytes), "NVML, all cards"
        yield "+ held by Ollama", shown(memory.gpu.loaded_bytes), "before this look"
        yield "[bold]there is[/]", f"[bold]{shown(memory.gpu.bytes)}[/]", "the workers are not on it"


def _show_paces(paces: Sequence[tuple[str, TimeoutEstimate]], console: Console) -> None:
    console.print("[bold]The speed, measured[/]")
    for name, pace in paces:
        speed, answer_seconds = f"{pace.tokens_per_second:.1f} tokens/s", pace.answer_tokens / pace.tokens_per_second
        read = f"{pace.prompt_seconds:.1f} s to read {pace.prompt_tokens} tokens"
        write = f"{pace.answer_tokens} tokens at {speed} = {answer_seconds:.1f} s"
        whole = f"{pace.needed_seconds:.1f} s of {pace.timeout_seconds} s (AI_TIMEOUT_{pace.role.name})"
        console.print(f"{escape(name)}: {read} + {write}: {whole}", soft_wrap=True, highlight=False)
    console.print()


def _show_service(lines: Sequence[EnvironmentLine], console: Console) -> None:
    console.print("[bold]For the Ollama service[/]: `systemctl edit ollama`, these lines, `systemctl restart ollama`")
    console.print(r"\[Service]")
    for line in lines:
        console.print(f"# {line.reason}", style="dim", soft_wrap=True, highlight=False)
        console.print(f"Environment={line}", soft_wrap=True, highlight=False)
    console.print()


def _sentence(findings: Sequence[Finding]) -> str:
    failed = sum(finding.level is Level.FAILED for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if failed:
        return f"[bold red]Jobs would fail[/]: {failed} to mend first"
    return f"[green]Ollama can do this work[/]{f'; {warnings} to look at' if warnings else ''}"
