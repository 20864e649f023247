"""Imports the two adapters by the names of their modules. This happens in the worker, after the fork."""

import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from worker.ollama.call_report import OnCall, ignore_call
from worker.ollama.usage import OnUsage, ignore_usage
from worker.settings import WorkerSettings

_OPTIONS = frozenset({"instruction_md", "hints_md"})
TEACHER_CONTEXT = "teacher_context_md"  # the name of 2026 for `hints_md`, which is not given beside it
SETUP = "LEARNING_WORKER_SETUP"
ATTEMPT = "attempt"  # the job's rung of the ladder, given only to an adapter whose signature names it


class AdapterMissing(Exception):
    """A module named in the settings cannot be loaded. The message has its name and the class of the error."""


def prepare(settings: WorkerSettings, exported: Mapping[str, str]) -> None:
    """Prepare this process for adapters of another package, once, before the first of them is loaded.

    They read the environment, so it gets the variables of the settings file. Then the function of LEARNING_WORKER_SETUP is
    called. Raises AdapterMissing if there is none, and what the function raises.
    """
    if settings.learning_worker_setup or settings.is_foreign("vision") or settings.is_foreign("feedback"):
        os.environ.update(exported)
    if settings.learning_worker_setup:
        module_name, _, function_name = settings.learning_worker_setup.partition(":")
        with _importing(f"{SETUP} {module_name}"):
            getattr(importlib.import_module(module_name), function_name)()


@contextmanager
def _importing(subject: str) -> Iterator[None]:
    """Raise AdapterMissing for a module, function or package that is missing, with the package's name."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        lacks = f": {error.name}" if isinstance(error, ModuleNotFoundError) and error.name else ""
        raise AdapterMissing(f"{subject}: {type(error).__name__}{lacks}") from error


def load_adapter(
    module_name: str,
    settings: WorkerSettings,
    on_progress: Callable[[], None],
    on_call: OnCall = ignore_call,
    on_usage: OnUsage = ignore_usage,
) -> Any:
    """Import the module and return the result of its `build()`.

    `build` gets those of the four arguments that its signature has. The platform's adapters have none of them. Raises
    AdapterMissing if a restart cannot help. An exception of `build` itself may be gone at the next start.
    """
    with _importing(f"adapter module {module_name}"):
        build = importlib.import_module(module_name).build
    offered = {"settings": settings, "on_progress": on_progress, "on_call": on_call, "on_usage": on_usage}
    taken = inspect.signature(build).parameters
    return build(**{name: value for name, value in offered.items() if name in taken})


def options_of(adapter: Any, method: str = "analyze") -> frozenset[str]:
    """Return which of instruction_md, teacher_context_md, hints_md and attempt a method of the feedback adapter accepts.

    The inspection takes 50 µs.
    """
    parameters = _parameters(getattr(adapter, method, None))
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    options = (_OPTIONS if takes_all else _OPTIONS & parameters.keys()) | {ATTEMPT, TEACHER_CONTEXT} & parameters.keys()
    return options - {"hints_md"} if TEACHER_CONTEXT in options else options


def reads_by_attempt(adapter: Any) -> bool:
    """Report whether the adapter's `pages` takes the attempt."""
    return ATTEMPT in _parameters(getattr(adapter, "pages", None))


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """Parameters by name. None if it is not callable or has no signature: each job will fail with the reason."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
