"""The option --env-file, and the exit on wrong settings."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from supervisor.exit_codes import EX_CONFIG
from supervisor.settings.model import SettingsError
from supervisor.wording import wrapped

Value = TypeVar("Value")

ENV_FILE = click.option(
    "--env-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Settings file to read instead of ./.env."
)


def read_or_exit(read: Callable[[], Value]) -> Value:
    """The settings. If any is wrong, print all problems and exit with code 78."""
    try:
        return read()
    except SettingsError as error:
        click.echo("learning-supervisor: wrong settings:", err=True)
        for problem in error.problems:
            click.echo(wrapped(f"  {problem}", Console(stderr=True).width, "    "), err=True)
        sys.exit(EX_CONFIG)
