"""The SQL of the queue: one statement per file in sql/, read once at import so that a fork shares it."""

from importlib.resources import files
from typing import LiteralString

_FILES = {file.name.removesuffix(".sql"): file.read_text() for file in files("worker.queue").joinpath("sql").iterdir()}


def statement(name: str) -> LiteralString:
    """The text of sql/<name>.sql without its comments, which are for readers. Raises KeyError for a name without a file."""
    lines = _FILES[name].splitlines()
    text: LiteralString = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    return text
