"""The command line's entry point: start, status, check and doctor. The commands to a running instance are in commands.py."""

from supervisor.cli import boot_signals

boot_signals.prepare()  # before the long imports

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from supervisor.adapters.authorities import ensure_authorities
from supervisor.adapters.cannot_start import CannotStart
from supervisor.cli import check as checks
from supervisor.cli import commands
from supervisor.cli import status as status_page
from supervisor.cli.control_socket import Document
from supervisor.cli.instances import documents as running_documents
from supervisor.cli.output import CommandGroup
from supervisor.cli.terminal import ENV_FILE, allowed_or_exit, echo, read_or_exit
from supervisor.doctor import findings as doctor_findings
from supervisor.doctor import view
from supervisor.doctor.document import document
from supervisor.doctor.run import run as run_doctor
from supervisor.exit_codes import ATTENTION_NEEDED, EX_CONFIG, NOT_RUNNING, OK
from supervisor.findings import Finding, Level, worst_level
from supervisor.findings import show as show_findings
from supervisor.main import start as run_supervisor
from supervisor.monitor.ollama.host import Host
from supervisor.settings.model import Settings, read_runtime_path, read_settings
from supervisor.settings.problems import SettingsError
from supervisor.settings.sources import env_path


@click.group(cls=CommandGroup)
@click.version_option(version("learning-supervisor"), prog_name="learning-supervisor")
def main() -> None:
    """Process pupils' submissions with isolated workers, without losing one."""


@main.command()
@click.option("--procs", type=str, help="Number of workers, 1 to 64 (WORKER_CONCURRENCY).")
@ENV_FILE
def start(procs: str | None, env_file: Path | None) -> None:
    """Run the workers until SIGTERM or SIGINT.

    SIGHUP reads the settings again. SIGTTIN adds a worker, SIGTTOU removes one.

    \b
    Exit codes:
    0   stopped: every job was finished or went back to the queue
    69  gave up: no worker could start or finish a step
    73  the runtime directory is full or read-only: nothing was started
    75  the drain took too long: workers were killed, their jobs went back
    78  a setting is wrong, the database role must not be used, or an adapter
        cannot be loaded
    """
    flags = {"WORKER_CONCURRENCY": procs} if procs else {}
    try:
        sys.exit(run_supervisor(_settings(env_file, flags), lambda: read_settings(flags, env_file)))
    except CannotStart as error:
        _exit_unable(error)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole status document.")
@ENV_FILE
def status(as_json: bool, env_file: Path | None) -> None:
    """Show if the work goes on, and if not, why.

    \b
    Exit codes:
    0   all is well
    1   degraded, stopping or down, or no answer
    3   not running
    77  not allowed for this user
    """
    directory = read_or_exit(lambda: read_runtime_path(env_file))
    documents = list(allowed_or_exit(lambda: running_documents(directory)).values())
    if as_json:
        click.echo(json.dumps({"instances": documents}, indent=2))
    else:
        status_page.show(documents, directory, Console())
    sys.exit(_status_code(documents))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a document.")
@ENV_FILE
def check(as_json: bool, env_file: Path | None) -> None:
    """Test settings, files, database, rights, models and adapters.

    Each failed line names its remedy. What the workers will do is tried in a child process with their rights.

    \b
    Exit codes:
    0   everything is ready
    1   something must be done
    78  a setting is wrong
    """
    try:
        settings = read_settings({}, env_file)
    except SettingsError as error:
        _show_check(checks.wrong_settings(error.problems), as_json=as_json)
        sys.exit(EX_CONFIG)
    findings = checks.findings(settings, env_path(env_file))
    _show_check(findings, as_json=as_json)
    sys.exit(_findings_code(findings))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as a document.")
@ENV_FILE
def doctor(as_json: bool, env_file: Path | None) -> None:
    """Test Ollama: models, memory, and speed.

    The memory is compared with this host's, the speed with the timeouts. The test loads the models and sends a few requests,
    which may take some minutes.

    \b
    Exit codes:
    0   Ollama can do the work
    1   jobs would fail
    78  a setting is wrong
    """
    settings = _settings(env_file, {})
    try:
        ensure_authorities()
    except CannotStart as error:
        _exit_unable(error)
    host = Host.of(settings).measured()
    report = run_doctor(settings, host, os.cpu_count() or 1, lambda progress: click.echo(progress, err=True))
    findings = doctor_findings.findings(report)
    if as_json:
        click.echo(json.dumps(document(report, findings), indent=2))
    else:
        view.show(report, findings, Console())
    sys.exit(_findings_code(findings))


for _command in (commands.scale, commands.recycle, commands.reload):
    main.add_command(_command)


def _show_check(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        listed = [{"level": each.level.value, "subject": each.subject, "remedy": each.remedy} for each in findings]
        click.echo(json.dumps({"level": worst_level(findings).value, "findings": listed}, indent=2))
    else:
        show_findings(findings, Console())


def _settings(env_file: Path | None, flags: dict[str, str]) -> Settings:
    return read_or_exit(lambda: read_settings(flags, env_file))


def _exit_unable(error: CannotStart) -> NoReturn:
    echo(f"learning-supervisor: {error}", err=True)
    sys.exit(error.exit_code)


def _findings_code(findings: list[Finding]) -> int:
    return ATTENTION_NEEDED if worst_level(findings) is Level.FAILED else OK


def _status_code(documents: list[Document]) -> int:
    if not documents:
        return NOT_RUNNING
    return OK if all(document["state"] == "ok" for document in documents) else ATTENTION_NEEDED
