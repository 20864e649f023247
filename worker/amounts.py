"""Sizes and durations as they are written in a setting: 8GB, 512MiB, 45s, 5m, or a plain number in the setting's unit."""

import re
from typing import Annotated

from pydantic import BeforeValidator

KIBIBYTE, MEBIBYTE = 1024, 1024**2
LEAST_MEMORY_BYTES = MEBIBYTE  # as a plain number: no process needs less
_SIZE = re.compile(r"([-+]?\d{1,15}) ?(?:([KMGT])(?:i?B)?|(B))?", re.IGNORECASE)
_DURATION = re.compile(r"([-+]?\d{1,15}(?:\.\d{1,9})?) ?(ms|s|sec|m|min|h|d)?", re.IGNORECASE)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def bytes_in(text: str, least_plain_bytes: int = 0) -> int:
    """Return the size in bytes. Units are powers of 1024, as in systemd. Raises ValueError for any other text.

    A plain number between 0 and `least_plain_bytes` is rejected, because its unit was probably forgotten.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("give a size such as 512MiB or 8GB. A plain number is in bytes")
    number, unit, is_explicit = int(found[1]), found[2], found[2] or found[3]
    if not is_explicit and 0 < number < least_plain_bytes:
        raise ValueError(f"{number} bytes are too few to be meant: add the unit, such as {number}MB or {number}GB")
    return number * 1024 ** _POWERS[unit.upper()] if unit else number


def seconds_in(text: str) -> float:
    """Return the duration in seconds. Raises ValueError for a text that is no duration."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("give a duration such as 45s or 5m. A plain number is in seconds")
    return float(found[1]) * _SECONDS[(found[2] or "s").lower()]


def _seconds(value: object) -> object:
    return seconds_in(value) if isinstance(value, str) else value


def _memory_bytes(value: object) -> object:
    return bytes_in(value, LEAST_MEMORY_BYTES) if isinstance(value, str) else value


def _file_bytes(value: object) -> object:
    return bytes_in(value, KIBIBYTE) if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(_seconds)]
WholeSeconds = Annotated[int, BeforeValidator(_seconds)]
MemoryBytes = Annotated[int, BeforeValidator(_memory_bytes)]  # of a process
FileBytes = Annotated[int, BeforeValidator(_file_bytes)]
