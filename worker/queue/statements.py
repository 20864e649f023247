"""Loads the SQL files in sql/, one statement each, at import, so that forked processes share the texts."""

from importlib.resources import files
from typing import LiteralString

_FILES = {file.name.removesuffix(".sql"): file.read_text() for file in files("worker.queue").joinpath("sql").iterdir()}
_EXPRESSIONS: tuple[LiteralString, ...] = ("obstacle", "quarantined")


def statement(name: str) -> LiteralString:
    """Return the text of sql/<name>.sql without its comments. Raises KeyError if there is no such file.

    The name of an expression over `payload` in braces is replaced by that file.
    """
    text = _without_comments(name)
    for expression in _EXPRESSIONS:
        text = text.replace(f"{{{expression}}}", _without_comments(expression))
    return text


def _without_comments(name: str) -> LiteralString:
    lines = _FILES[name].splitlines()
    text: LiteralString = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    return text
