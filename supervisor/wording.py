"""Sizes, counts, durations and lines of text as they are written for an administrator."""

import re
import textwrap

_COMMAND = re.compile(r"`[^`]*`")
_MINUTE_SECONDS, _HOUR_SECONDS = 60, 3600
_UNBROKEN = "\xa0"  # textwrap does not break at it


def byte_size(size_bytes: float) -> str:
    """Decimal units, as in `ollama ps`: `4.7 GB`."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= step:
            return f"{size_bytes / step:.1f} {unit}"
    return f"{size_bytes:.0f} bytes"


def counted(count: int, noun: str) -> str:
    """`1 worker`, `3 workers`."""
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def since(seconds: float) -> str:
    """The time for which a fault has lasted: `for 9 min now`."""
    return f"for {duration(seconds)} now"


def duration(seconds: float) -> str:
    """In the largest unit that is not 0, rounded down."""
    if seconds < _MINUTE_SECONDS:
        return f"{int(seconds)} s"
    return f"{int(seconds // _MINUTE_SECONDS)} min" if seconds < _HOUR_SECONDS else f"{int(seconds // _HOUR_SECONDS)} h"


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Break lines between words, and indent all but the first.

    A command in backticks stays on one line, so that it can be copied. A path longer than a line gets a line of its own.
    """
    kept = _COMMAND.sub(lambda command: command[0].replace(" ", _UNBROKEN), text)
    filled = textwrap.fill(kept, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace(_UNBROKEN, " ")
