"""The command line: start, status, check, doctor, and the orders scale, recycle, reload."""

import signal

# Until the supervisor's own handlers stand: an interrupt that comes as an exception may be lost in an import (`unraisablehook`).
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from supervisor import exit_codes
from supervisor.adapters.instance import RuntimeDirectoryError
from supervisor.cli import check as checks
from supervisor.cli import commands
from supervisor.cli import status as status_page
from supervisor.doctor import findings as doctor_findings
from supervisor.doctor import view
from supervisor.doctor.document import document
from supervisor.doctor.run import examine
from supervisor.findings import Level
from supervisor.findings import show as show_findings
from supervisor.main import start as run_supervisor
from supervisor.monitor.ollama.host import Host
from supervisor.settings.model import Settings, SettingsError, read_runtime_path, read_settings
from worker.ipc.scoreboard import MAX_SLOTS

Answer = TypeVar("Answer")

_ENV_FILE = click.option(
    "--env-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Read this instead of ./.env."
)

_INSTANCE = click.option("--instance", help="Which one, where several answer: its number as `status` has it.")


@click.group()
@click.version_option(version("learning-supervisor"), prog_name="learning-supervisor")
def main() -> None:
    """Works off pupils' submissions with isolated workers, and never loses one."""


@main.command()
@click.option("--procs", type=str, help="How many workers, 1 to 64 (WORKER_CONCURRENCY).")
@_ENV_FILE
def start(procs: str | None, env_file: Path | None) -> None:
    """Run the workers until SIGTERM or SIGINT. SIGHUP reads the settings again; SIGTTIN and SIGTTOU: one worker more, one less.

    \b
    0   drained: every job was finished or returned
    69  gave up: no worker could start or finish a step
    75  the drain took too long: workers were killed, their jobs returned
    78  a setting is wrong, the database role must not be used, or an adapter cannot be loaded
    """
    flags = {"WORKER_CONCURRENCY": procs} if procs else {}
    try:
        sys.exit(run_supervisor(_settings(env_file, flags), lambda: read_settings(flags, env_file)))
    except RuntimeDirectoryError as refusal:
        click.echo(f"learning-supervisor: {refusal}", err=True)
        sys.exit(exit_codes.EX_CONFIG)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The whole status document.")
@_ENV_FILE
def status(as_json: bool, env_file: Path | None) -> None:
    """Say whether it works, and if not, why.

    \b
    0  all is well     1  degraded, stopping or down     3  not running
    """
    directory = _read(lambda: read_runtime_path(env_file))
    documents = status_page.documents(directory)
    if as_json:
        click.echo(json.dumps({"instances": documents}, indent=2))
    else:
        status_page.show(documents, directory, Console())
    sys.exit(_status_code(documents))


@main.command()
@_ENV_FILE
def check(env_file: Path | None) -> None:
    """Look at settings, database, rights and adapters: each line is ok, or says what to do.

    \b
    0  everything is ready     1  something must be done     78  a setting is wrong
    """
    findings = checks.findings(_settings(env_file, {}))
    show_findings(findings, Console())
    sys.exit(exit_codes.ATTENTION_NEEDED if any(f.level is Level.FAILED for f in findings) else 0)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The whole examination as a document.")
@_ENV_FILE
def doctor(as_json: bool, env_file: Path | None) -> None:
    """Look at Ollama: its models, their memory, and whether they answer in time. Loads and asks them, up to some minutes.

    \b
    0  it can do the work     1  jobs would fail     78  a setting is wrong
    """
    settings = _settings(env_file, {})
    examination = examine(settings, Host.of(settings).measured(), os.cpu_count() or 1, lambda doing: click.echo(doing, err=True))
    findings = doctor_findings.findings(examination)
    if as_json:
        click.echo(json.dumps(document(examination, findings), indent=2))
    else:
        view.show(examination, findings, Console())
    sys.exit(exit_codes.ATTENTION_NEEDED if any(f.level is Level.FAILED for f in findings) else 0)


@main.command()
@click.argument("workers", type=click.IntRange(1, MAX_SLOTS))
@_INSTANCE
@_ENV_FILE
def scale(workers: int, instance: str | None, env_file: Path | None) -> None:
    """Change how many workers there are, until the next start or reload.

    \b
    0  accepted     1  refused     2  several instances answer     3  not running
    """
    _order(env_file, instance, "/scale", {"workers": workers})


@main.command()
@click.argument("slots", nargs=-1, type=click.IntRange(0, MAX_SLOTS - 1))
@_INSTANCE
@_ENV_FILE
def recycle(slots: tuple[int, ...], instance: str | None, env_file: Path | None) -> None:
    """Replace these workers, or all, each after its job and one after the other.

    \b
    0  accepted     1  refused     2  several instances answer     3  not running
    """
    _order(env_file, instance, "/recycle", {"slots": sorted(set(slots)) or "all"})


@main.command()
@_INSTANCE
@_ENV_FILE
def reload(instance: str | None, env_file: Path | None) -> None:
    """Read the settings again, from where `start` read them; its flags keep winning. Workers are replaced one after the other.

    \b
    0  accepted     1  refused     2  several instances answer     3  not running     78  a setting is wrong: the old ones stay
    """
    _order(env_file, instance, "/reload", {})


def _order(env_file: Path | None, instance: str | None, route: str, body: dict[str, object]) -> None:
    reply = commands.place(_read(lambda: read_runtime_path(env_file)), instance, route, body)
    click.echo(reply.text, err=reply.exit_code != 0)
    sys.exit(reply.exit_code)


def _settings(env_file: Path | None, flags: dict[str, str]) -> Settings:
    return _read(lambda: read_settings(flags, env_file))


def _read(reading: Callable[[], Answer]) -> Answer:
    """Every wrong setting at once, then exit code 78."""
    try:
        return reading()
    except SettingsError as error:
        click.echo("learning-supervisor: wrong settings:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(exit_codes.EX_CONFIG)


def _status_code(documents: list[dict[str, object]]) -> int:
    if not documents:
        return exit_codes.NOT_RUNNING
    return 0 if all(document["state"] == "ok" for document in documents) else exit_codes.ATTENTION_NEEDED
