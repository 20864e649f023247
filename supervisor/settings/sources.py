"""Files with settings: one file of variables, and one file per secret."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

MAX_FILE_BYTES = 65_536  # the template has 8 KiB
ENV_FILE = "--env-file"  # stands for the variable in a problem with the file


class Unreadable(Exception):
    """A file that cannot be used. The error contains nothing of its content."""

    def __init__(self, variable: str, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.variable, self.path, self.reason = variable, path, reason


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The settings file: its variables, and the lines of each name, because dotenv keeps the last of several.

    `wrong_lines` are no assignments. Their content may be a part of a secret and is left out.
    """

    path: Path
    values: dict[str, str | None]
    lines: dict[str, list[int]]
    wrong_lines: list[int]


def env_path(named: Path | None) -> Path:
    """The settings file: the named one, else .env of the current directory."""
    return named or Path(".env")


def read_env_file(named: Path | None) -> EnvFile:
    """The variables of the named file, else of .env if it exists.

    Raises Unreadable, also if a named file is missing: else a deleted file would bring the defaults back.
    """
    path = env_path(named)
    content = _content(ENV_FILE, path)
    if content is None and named is not None:
        raise Unreadable(ENV_FILE, path, "it does not exist")
    try:
        text = (content or b"").decode("utf-8-sig")  # editors on Windows write a mark before the first name
    except UnicodeDecodeError:
        raise Unreadable(ENV_FILE, path, "it is not UTF-8") from None
    bindings = list(parse_stream(StringIO(text)))
    wrong_lines = [_line(binding) for binding in bindings if binding.error or (binding.key and binding.value is None)]
    right = "".join(binding.original.string for binding in bindings if not binding.error)
    return EnvFile(path, dotenv_values(stream=StringIO(right)), _lines(bindings), wrong_lines)


def _lines(bindings: Iterable[Binding]) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {}
    for binding in bindings:
        if binding.key and binding.value is not None:
            lines.setdefault(binding.key, []).append(_line(binding))
    return lines


def _line(binding: Binding) -> int:
    """The number of its line. A binding begins with the empty lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def credentials(directory: Path, variables: Iterable[str]) -> dict[str, str]:
    """Secrets that systemd has put into files named like the variable."""
    found = {name: _content(name, directory / name) for name in variables}
    return {name: content.decode(errors="replace").strip() for name, content in found.items() if content is not None}


def _content(variable: str, path: Path) -> bytes | None:
    """The content of a regular file, None if it does not exist. Raises Unreadable.

    Type and size are limited, because the supervisor reads the file at a reload and must neither wait nor grow.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Unreadable(variable, path, type(error).__name__) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unreadable(variable, path, "it is not a regular file")
        if len(content := os.read(fd, MAX_FILE_BYTES + 1)) > MAX_FILE_BYTES:
            raise Unreadable(variable, path, f"it has more than {MAX_FILE_BYTES} bytes")
    except OSError as error:
        raise Unreadable(variable, path, type(error).__name__) from None
    else:
        return content
    finally:
        os.close(fd)
