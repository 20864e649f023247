"""Docstrings and comments follow the rules of wording: things instead of persons, and no docstring that begins with a clause."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("supervisor", "worker", "testkit", "demo", "bench", "tests")
PERSON = re.compile(r"\b(nobody|anybody|somebody|everybody|whoever|whomever|whom|who)\b", re.IGNORECASE)
CLAUSE = re.compile(r"(what|who|whom|whose|whether|how|where|when|which|until|since)\b", re.IGNORECASE)
QUOTED = re.compile(r"`[^`]*`")  # names of things, such as an account
DIRECTIVE = re.compile(r"#\s*(noqa|type:|!)")


class Text(NamedTuple):
    """A docstring or a comment, and the line it begins in."""

    line: int
    words: str
    is_docstring: bool = False


def texts(suffix: str, source: str) -> Iterator[Text]:
    """Docstrings and comments of a Python file, comments of an SQL file."""
    if suffix == ".sql":
        comments = ((number, line.partition("--")) for number, line in enumerate(source.splitlines(), start=1))
        return (Text(number, comment) for number, (_, mark, comment) in comments if mark)
    return iter((*docstrings(source), *python_comments(source)))


def docstrings(source: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            yield Text(node.body[0].lineno, ast.get_docstring(node) or "", is_docstring=True)


def python_comments(source: str) -> Iterator[Text]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string):
            yield Text(token.start[0], token.string)


def complaints(name: str, source: str) -> Iterator[str]:
    """One line for each word that stands for a person, and for each docstring that begins with a clause."""
    for text in texts(Path(name).suffix, source):
        for offset, line in enumerate(text.words.splitlines()):
            yield from (f"{name}:{text.line + offset}: a person: {word}" for word in PERSON.findall(QUOTED.sub("", line)))
        if text.is_docstring and (beginning := CLAUSE.match(text.words)):
            yield f"{name}:{text.line}: a docstring that begins with {beginning[0]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_words_are_plain(package: str) -> None:
    files = sorted(path for path in (ROOT / package).rglob("*") if path.suffix in {".py", ".sql"})
    found = [each for path in files for each in complaints(str(path.relative_to(ROOT)), path.read_text())]
    assert found == [], "\n".join(found)


def test_a_person_is_found_with_its_line() -> None:
    """Docstrings, comments of Python and comments of SQL are searched."""
    assert list(complaints("a.py", '"""A lease.\n\nNobody holds it.\n"""')) == ["a.py:3: a person: Nobody"]
    assert list(complaints("a.py", "lease = None\nkey = 1  # whoever has it")) == ["a.py:2: a person: whoever"]
    assert list(complaints("a.sql", "select 1;\n-- the worker who leased")) == ["a.sql:2: a person: who"]


def test_a_docstring_that_begins_with_a_clause_is_found() -> None:
    source = 'def lease():\n    """Whether a job is leased."""\n'
    assert list(complaints("a.py", source)) == ["a.py:2: a docstring that begins with Whether"]


def test_plain_words_are_accepted() -> None:
    """Names, quoted names, text that is no comment, directives of tools and a comment that begins with a clause are accepted."""
    source = '"""Leases of one worker.\n\nWhere a lease of `nobody` ends."""\nwho = "nobody"  # noqa: S105  who\n# when it ends\n'
    assert list(complaints("a.py", source)) == []
    assert list(complaints("a.sql", "select 'who'; -- the oldest job")) == []
