"""The files that settings may stand in: one of variables, and one for each secret."""

import os
import stat
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

MAX_FILE_BYTES = 65_536  # the template has 8 KiB
ENV_FILE = "--env-file"  # what a problem of the file of variables is named after


class Unreadable(Exception):
    """A file that is there, or was named, and cannot be used; without anything of its content."""

    def __init__(self, variable: str, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.variable, self.path, self.reason = variable, path, reason


def env_file_values(named: Path | None) -> dict[str, str | None]:
    """Nothing where nobody named a file and there is no .env. A named file that has gone must not bring the defaults back."""
    path = named or Path(".env")
    content = _content(ENV_FILE, path)
    if content is None and named is not None:
        raise Unreadable(ENV_FILE, path, "it is not there")
    try:
        return dotenv_values(stream=StringIO((content or b"").decode()))
    except UnicodeDecodeError:
        raise Unreadable(ENV_FILE, path, "it is not UTF-8") from None


def credentials(directory: Path, variables: Iterable[str]) -> dict[str, str]:
    """systemd puts secrets into files named like the variable."""
    found = {name: _content(name, directory / name) for name in variables}
    return {name: content.decode(errors="replace").strip() for name, content in found.items() if content is not None}


def _content(variable: str, path: Path) -> bytes | None:
    """Of a regular file; None where there is none. The supervisor itself reads it at a reload, and must not wait or grow for it.

    Raises Unreadable.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Unreadable(variable, path, type(error).__name__) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unreadable(variable, path, "it is no regular file")
        if len(content := os.read(fd, MAX_FILE_BYTES + 1)) > MAX_FILE_BYTES:
            raise Unreadable(variable, path, f"it has more than {MAX_FILE_BYTES} bytes")
    except OSError as error:
        raise Unreadable(variable, path, type(error).__name__) from None
    else:
        return content
    finally:
        os.close(fd)
