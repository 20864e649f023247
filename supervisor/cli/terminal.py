"""Shared by the commands: the option --env-file, exits for wrong settings and missing rights, text in the terminal's width."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from supervisor.adapters.runtime_directory import StateUnknown
from supervisor.exit_codes import EX_CONFIG
from supervisor.settings.problems import SettingsError
from supervisor.wording import wrapped

Value = TypeVar("Value")

ENV_FILE = click.option(
    "--env-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Settings file to read instead of ./.env."
)


class NumberRange(click.IntRange):
    """A whole number whose range is in every error text."""

    def __init__(self, least: int, greatest: int) -> None:
        super().__init__(least, greatest)
        self.name = f"number from {least} to {greatest}"


def read_or_exit(read: Callable[[], Value]) -> Value:
    """The settings. If any is wrong, print all problems and exit with code 78."""
    try:
        return read()
    except SettingsError as error:
        echo("learning-supervisor: wrong settings:", err=True)
        for problem in error.problems:
            echo(f"  {problem}", err=True, indent="    ")
        sys.exit(EX_CONFIG)


def allowed_or_exit(read: Callable[[], Value]) -> Value:
    """The result of reading the runtime directory. If the state stays unknown, print the reason with its remedy and exit."""
    try:
        return read()
    except StateUnknown as error:
        echo(str(error), err=True)
        sys.exit(error.exit_code)


def echo(text: str, *, err: bool = False, indent: str = "") -> None:
    """Print a text with its lines broken between words at the terminal's width."""
    click.echo(wrapped(text, Console(stderr=err).width, indent), err=err)
