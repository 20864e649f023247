"""A trial of `check`: import and build the adapter of a step as a worker does."""

from collections.abc import Iterator

from supervisor.findings import Finding, Level
from worker.adapters.loading import AdapterMissing, load_adapter
from worker.ipc.contract import Step
from worker.settings import WorkerSettings

_METHODS = {Step.VISION: ("extract", "pages"), Step.FEEDBACK: ("analyze",)}  # one of these


def module_of(settings: WorkerSettings, step: Step) -> str:
    return settings.vision_adapter if step is Step.VISION else settings.feedback_adapter


def adapter(settings: WorkerSettings, step: Step) -> Iterator[Finding]:
    """Runs in the child, because a foreign module may do anything."""
    module = module_of(settings, step)
    try:
        built = load_adapter(module, settings, lambda: None)
    except Exception as error:  # noqa: BLE001  a foreign module may raise anything
        reason = str(error) if isinstance(error, AdapterMissing) else f"adapter module {module}: {type(error).__name__}"
        yield Finding(Level.FAILED, reason, f"correct LEARNING_{step.name}_ADAPTER, or install its package")
        return
    if not any(callable(getattr(built, method, None)) for method in _METHODS[step]):
        remedy = f"its adapter has no method `{_METHODS[step][0]}`: LEARNING_{step.name}_ADAPTER names another kind of module"
        yield Finding(Level.FAILED, f"adapter module {module}", remedy)
        return
    yield Finding(Level.OK, f"{step.value} adapter {module}")
