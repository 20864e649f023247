"""Settings and packages that an adapter of another package will need when it is called, found without a call.

The platform's adapters read their settings and import their library at the first call, so `build()` succeeds without them. Their
source names both.
"""

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import getsource
from types import ModuleType

_ALWAYS = ("OPENAI_BASE_URL", "AI_TEXT_MODEL")
_LIBRARY = "dspy"  # configured at each call by adapters that name _ALWAYS
_OF_A_MODE = ("AI_VISUAL_MODEL", "AI_OCR_MODEL")


@dataclass(frozen=True, slots=True)
class Missing:
    """Prerequisites that are missing here, by name. The variables of a mode are needed for submissions of this mode alone."""

    variables: tuple[str, ...] = ()
    variables_of_a_mode: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    needs_setup: bool = False
    """The adapter uses a library that only its own worker's `main()` has configured, as that of 2025-12 does."""


def missing_for(module_name: str) -> Missing:
    """Return what the loaded module, and the modules of its package that it has loaded, name in their source and lack here."""
    trees = [tree for module in _modules_of(module_name) if (tree := _tree(module))]
    texts = {text.removeprefix("missing_") for tree in trees for text in _texts(tree)}
    imported = {name for tree in trees for name in _imported(tree)}
    return Missing(
        tuple(name for name in _ALWAYS if name in texts and not _is_set(name)),
        tuple(name for name in _OF_A_MODE if name in texts and not _is_set(name)),
        tuple(sorted(name for name in imported if not _is_installed(name))),
        needs_setup=_LIBRARY in imported and texts.isdisjoint(_ALWAYS),
    )


def variable_in(error: Exception) -> str:
    """Return the variable that a KeyError of `os.environ` names. '' for any other key, which may be a pupil's word."""
    key = error.args[0] if isinstance(error, KeyError) and error.args else ""
    is_variable = isinstance(key, str) and key.isascii() and key.isupper() and key.isidentifier()
    return str(key) if is_variable and not _is_set(key) else ""


def _modules_of(module_name: str) -> list[ModuleType]:
    package = module_name.rpartition(".")[0]
    loaded = [module for name, module in sys.modules.items() if package and name.startswith(f"{package}.")]
    return loaded or [sys.modules[module_name]]


def _tree(module: ModuleType) -> ast.Module | None:
    """None for a module without a readable source."""
    try:
        return ast.parse(getsource(module))
    except (OSError, TypeError, SyntaxError):
        return None


def _texts(tree: ast.Module) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names of the packages that are imported anywhere, also within a function."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name.partition(".")[0]


def _is_installed(package: str) -> bool:
    try:
        return package in sys.modules or find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name, "").strip())
