"""Finding the two adapters by the name of their module, in the worker after the fork."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from worker.ollama.call_report import OnCall, ignore_call
from worker.settings import WorkerSettings

_OPTIONS = frozenset({"instruction_md", "hints_md"})


class AdapterMissing(Exception):
    """The module named in the settings cannot be loaded. Names the module and the class of the error."""


def load_adapter(
    module_name: str, settings: WorkerSettings, on_progress: Callable[[], None], on_call: OnCall = ignore_call
) -> Any:
    """`build()` of the module. Ours ask for the settings, report progress and tell of each call; the platform's take nothing.

    Raises AdapterMissing where no restart can help; what `build` raises may be over at the next start.
    """
    try:
        build = importlib.import_module(module_name).build
    except (ImportError, AttributeError) as error:
        raise AdapterMissing(f"adapter module {module_name}: {type(error).__name__}") from error
    offered = {"settings": settings, "on_progress": on_progress, "on_call": on_call}
    taken = inspect.signature(build).parameters
    return build(**{name: value for name, value in offered.items() if name in taken})


def options_of(adapter: Any) -> frozenset[str]:
    """Which of instruction_md and hints_md its `analyze` takes: an adapter may leave them out. Asked once: a look costs 50 µs."""
    try:
        parameters = inspect.signature(adapter.analyze).parameters
    except (AttributeError, TypeError, ValueError):  # nothing to call, or nothing that can be asked: each job will tell
        return frozenset()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return _OPTIONS
    return _OPTIONS & parameters.keys()
