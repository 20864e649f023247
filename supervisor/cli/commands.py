"""`scale`, `recycle` and `reload`: send a command to a running instance and print its result."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from supervisor.adapters.runtime_directory import control_socket
from supervisor.cli.control_socket import Document, send
from supervisor.cli.instances import documents, is_silent, not_running
from supervisor.cli.terminal import ENV_FILE, NumberRange, allowed_or_exit, echo, read_or_exit
from supervisor.exit_codes import COMMAND_REJECTED, EX_CONFIG, NOT_RUNNING, OUTCOME_UNKNOWN, USAGE
from supervisor.settings.model import read_runtime_path
from supervisor.wording import counted
from worker.ipc.scoreboard import MAX_SLOTS

JOBS_GO_ON = "Running jobs are not interrupted."

_INSTANCE = click.option("--instance", help="The instance's number from `status`, if several run.")


@click.command()
@click.argument("workers", type=NumberRange(1, MAX_SLOTS))
@_INSTANCE
@ENV_FILE
def scale(workers: int, instance: str | None, env_file: Path | None) -> None:
    """Set the number of WORKERS until the next start or reload.

    \b
    Exit codes:
    0   accepted
    1   rejected, or not sent
    2   several instances run: name one
    3   not running
    75  no answer: it may have been carried out
    77  not allowed for this user
    """
    result = _send(env_file, instance, "/scale", {"workers": workers})
    echo(f"{counted(result['workers'], 'worker')} from now on. {JOBS_GO_ON}")


@click.command()
@click.argument("slots", nargs=-1, type=NumberRange(0, MAX_SLOTS - 1))
@_INSTANCE
@ENV_FILE
def recycle(slots: tuple[int, ...], instance: str | None, env_file: Path | None) -> None:
    """Replace the workers in SLOTS, or all workers.

    Each worker finishes its job first. They are replaced one after the other.

    \b
    Exit codes:
    0   accepted
    1   rejected, or not sent
    2   several instances run: name one
    3   not running
    75  no answer: it may have been carried out
    77  not allowed for this user
    """
    named = sorted(set(slots))
    result = _send(env_file, instance, "/recycle", {"slots": named or "all"})
    replaced = f"worker {', '.join(map(str, named))}" if named else f"all {counted(result['workers'], 'worker')}"
    echo(f"Replacing {replaced}{_in_turn(len(named) or result['workers'])}. {JOBS_GO_ON}")


@click.command()
@_INSTANCE
@ENV_FILE
def reload(instance: str | None, env_file: Path | None) -> None:
    """Read the settings again and replace all workers.

    The sources are those of `start`, whose flags keep precedence. Each worker finishes its job first. They are replaced one
    after the other.

    \b
    Exit codes:
    0   accepted
    1   rejected, or not sent
    2   several instances run: name one
    3   not running
    75  no answer: it may have been carried out
    77  not allowed for this user
    78  a setting is wrong: the old settings stay in use
    """
    result = _send(env_file, instance, "/reload", {})
    workers, names = result["workers"], result.get("names", ())
    echo(f"The settings are valid and go to {counted(workers, 'worker')}{_in_turn(workers)}. {JOBS_GO_ON}")
    echo(f"Changed: {', '.join(names)}." if names else "No setting has changed.")


def _send(env_file: Path | None, instance: str | None, route: str, command: Document) -> Document:
    """The result of an accepted command. If it is not accepted, print the reason and exit."""
    directory = read_or_exit(lambda: read_runtime_path(env_file))
    socket = control_socket(directory, _number(directory, instance))
    result = allowed_or_exit(lambda: send(socket, route, command))
    if result.get("outcome") != "accepted":
        _exit(*_rejection(result))
    return result


def _number(directory: Path, instance: str | None) -> int:
    """The number of the named instance, or of the only one that runs. If it is silent, print that and exit."""
    found = allowed_or_exit(lambda: documents(directory))
    running = {f"{number:08x}": number for number in found}
    if instance is None and len(running) > 1:
        _exit(f"Several instances run. Name one with --instance: {', '.join(sorted(running))}.", USAGE)
    if instance is not None and instance not in running:
        _exit(f"Not running: instance {instance} in {directory}. `status` lists the instances that run.", NOT_RUNNING)
    if not running:
        _exit(not_running(directory), NOT_RUNNING)
    number = running[instance] if instance else next(iter(running.values()))
    if is_silent(found[number]):
        _exit(f"Not sent. {found[number]['message']}", COMMAND_REJECTED)
    return number


def _rejection(result: Document) -> tuple[str, int]:
    """The reason for the administrator, and the exit code."""
    match result.get("outcome"):
        case "not_sent":
            return "Not sent, because the instance does not answer. Check its `status` and try again.", COMMAND_REJECTED
        case "unknown":
            return (
                "No answer came, so the command may have been carried out. Check `status` before you repeat it.",
                OUTCOME_UNKNOWN,
            )
        case "stopping":
            return "Rejected: the supervisor is stopping.", COMMAND_REJECTED
        case "no_worker":
            slots = ", ".join(result["names"])
            return f"Rejected: no worker in slot {slots}." if slots else "Rejected: no worker is running.", COMMAND_REJECTED
        case "wrong_settings":
            wrong = f"Wrong: {', '.join(result['names'])}. `check` and the log name the remedies."
            return f"Rejected: the old settings stay in use. {wrong}", EX_CONFIG
        case "needs_restart":
            names = ", ".join(result["names"])
            what = f"{names} cannot change while the service runs. The log says what differs."
            return f"Rejected: the old settings stay in use. {what} Stop and start the service to use the new ones.", EX_CONFIG
    return f"Rejected: {'; '.join(result.get('problems', ())) or 'no reason given'}.", COMMAND_REJECTED


def _exit(text: str, exit_code: int) -> NoReturn:
    echo(text, err=True)
    sys.exit(exit_code)


def _in_turn(workers: int) -> str:
    return ", one after the other" if workers > 1 else ""
