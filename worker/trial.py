"""Trials of `check` with the worker's own code: build the adapter of a step, read the file of a submission.

They run in a child process with the rights of the service, because a foreign module or a disk may do anything.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.adapters.abilities import abilities_of
from worker.adapters.loading import SETUP, AdapterMissing, load_adapter, prepare
from worker.adapters.practice import load_practice
from worker.adapters.prerequisites import Missing, missing_for, variable_in
from worker.core.abilities import Abilities
from worker.core.errors import VisionPermanentError, VisionTransientError
from worker.core.file_refusals import KeyRefused
from worker.core.modes import Mode
from worker.core.platform import Platform
from worker.documents.storage import Storage
from worker.ipc.contract import Obstacle, Step
from worker.settings import WorkerSettings

_OF_2026 = {Mode.VISUAL_DIRECT: "pictures without a text", Mode.DIALOG: "dialogs"}
_METHODS = {Step.VISION: ("extract", "pages"), Step.FEEDBACK: ("analyze",)}  # one of these


def adapter_module(settings: WorkerSettings, step: Step) -> str:
    """Return the name of the step's module."""
    return settings.vision_adapter if step is Step.VISION else settings.feedback_adapter


def adapter_fault(settings: WorkerSettings, exported: Mapping[str, str], step: Step) -> tuple[str, str] | None:
    """Return what is wrong with the adapter of the step, and the remedy. None if a worker can use it.

    Prepares the process as a worker does.
    """
    module = adapter_module(settings, step)
    try:
        prepare(settings, exported)
        built = load_adapter(module, settings, lambda: None)
    except AdapterMissing as error:
        return str(error), f"correct {_setting_in(error, step)}, or install its package"
    except Exception as error:  # noqa: BLE001  a foreign module may raise anything
        return _failed_build(module, error, step)
    if any(callable(getattr(built, method, None)) for method in _METHODS[step]):
        return None
    remedy = f"its adapter has no method `{_METHODS[step][0]}`: LEARNING_{step.name}_ADAPTER names another kind of module"
    return f"adapter module {module}", remedy


def adapter_abilities(settings: WorkerSettings, exported: Mapping[str, str]) -> Abilities | None:
    """Return the jobs that a worker with these settings takes. None if an adapter cannot be built."""
    try:
        prepare(settings, exported)
        modules = (settings.vision_adapter, settings.feedback_adapter)
        vision_adapter, feedback_adapter = (load_adapter(module, settings, lambda: None) for module in modules)
    except Exception:  # noqa: BLE001  a foreign module may raise anything, and has a line of its own
        return None
    return abilities_of(vision_adapter, feedback_adapter, settings, has_practice=load_practice() is not None)


def undoable_work(abilities: Abilities, platform: Platform) -> Iterator[tuple[Obstacle, str]]:
    """Yield work of 2026 that these adapters cannot do, before the first job of its kind is in the queue."""
    if platform.has_practice and not abilities.has_practice:
        yield Obstacle.PRACTICE, "practice attempts"
    if platform.has_dialog and (work := [word for mode, word in _OF_2026.items() if mode not in abilities.modes]):
        yield Obstacle.ADAPTER, " and ".join(work)
    if platform.has_dialog and not abilities.program_files:
        yield Obstacle.FILE_TYPE, "Scratch, MakeCode and Filius files"


def _setting_in(error: AdapterMissing, step: Step) -> str:
    return SETUP if str(error).startswith(SETUP) else f"LEARNING_{step.name}_ADAPTER"


def _failed_build(module: str, error: Exception, step: Step) -> tuple[str, str]:
    """A set-up or a `build()` that raised. A KeyError may name a variable, and other messages are left out."""
    if name := variable_in(error):
        return f"adapter module {module}: {name} is not set", "set it in the settings file or in the environment"
    return f"adapter module {module}: {type(error).__name__}", f"correct LEARNING_{step.name}_ADAPTER or {SETUP}"


def missing_prerequisites(settings: WorkerSettings, step: Step) -> Missing:
    """Return what the built adapter of the step will need when it is called, and does not have here."""
    if not settings.is_foreign(step.value):
        return Missing()
    return missing_for(adapter_module(settings, step))


def file_fault(settings: WorkerSettings, submission: Mapping[str, Any]) -> str:
    """Return the error of reading the submission's file, without its name. '' if it can be read.

    A damaged or oversized file can be read, and is the fault of its submission alone.
    """
    try:
        Storage(settings).original(submission)()
    except KeyRefused as error:  # by the platform's fault or by a wrong root
        return error.reason
    except VisionPermanentError:
        return ""
    except VisionTransientError as error:
        return str(error) or type(error).__name__
    except Exception as error:  # noqa: BLE001  `check` goes on, whatever it finds
        return type(error).__name__
    return ""
