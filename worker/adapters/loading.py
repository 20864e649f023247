"""Imports the two adapters by the names of their modules. This happens in the worker, after the fork."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from worker.ollama.call_report import OnCall, ignore_call
from worker.ollama.usage import OnUsage, ignore_usage
from worker.settings import WorkerSettings

_OPTIONS = frozenset({"instruction_md", "hints_md"})
TEACHER_CONTEXT = "teacher_context_md"  # the name of 2026 for `hints_md`, which is not given beside it
ATTEMPT = "attempt"  # the job's rung of the ladder, given only to an adapter whose signature names it


class AdapterMissing(Exception):
    """The module named in the settings cannot be loaded. The message has its name and the class of the error."""


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
    try:
        build = importlib.import_module(module_name).build
    except (ImportError, AttributeError) as error:
        raise AdapterMissing(f"adapter module {module_name}: {type(error).__name__}") from error
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
