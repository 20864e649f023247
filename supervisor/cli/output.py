"""Standard output and standard error of the commands, also closed, full, or without a reader."""

import errno
import io
import os
import sys
from typing import Any

import click

from supervisor.adapters.log_stream import fill_standard_fds
from supervisor.exit_codes import OUTPUT_LOST

CLOSED_FD = -1


class CommandGroup(click.Group):
    """All commands, with streams that raise no error. A lost output is one line on standard error, with an exit code of its own.

    A reader that ends first, such as `head`, is usual. Then the exit code is that of the command.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        if sys.stdout is not sys.__stdout__:  # a test reads the output
            return super().main(*args, **kwargs)
        output = _Output(CLOSED_FD if sys.stdout is None else 1)
        errors = _Output(CLOSED_FD if sys.stderr is None else 2)
        fill_standard_fds()
        sys.stdout, sys.stderr = written = _text(output), _text(errors, is_unbuffered=True)
        try:
            return super().main(*args, **kwargs)
        finally:
            written[0].flush()
            _exit_if_lost(output.error)


class _Output(io.RawIOBase):
    """A descriptor that keeps its first error instead of raising it, and drops everything from then on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.error: OSError | None = None

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return self._fd != CLOSED_FD and os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        if self.error is None:
            try:
                return os.write(self._fd, content)
            except OSError as error:
                self.error = error
        return len(content)


def _text(output: _Output, *, is_unbuffered: bool = False) -> io.TextIOWrapper:
    is_by_line = is_unbuffered or output.isatty()
    return io.TextIOWrapper(io.BufferedWriter(output), "utf-8", "backslashreplace", line_buffering=is_by_line)


def _exit_if_lost(error: OSError | None) -> None:
    if error is not None and error.errno != errno.EPIPE:
        click.echo(f"learning-supervisor: the output could not be written: {error.strerror}", err=True)
        sys.exit(OUTPUT_LOST)
