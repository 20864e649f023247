"""A worker process: the code that runs first after the fork, and the imports before it."""

import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from worker.adapters.abilities import abilities_of
from worker.adapters.loading import AdapterMissing, load_adapter, options_of, prepare, reads_by_attempt
from worker.adapters.practice import load_practice
from worker.admission import Admission
from worker.context import WorkerContext
from worker.ipc.contract import Activity, EventKind, ExitCode, Step, Wiring, place_of
from worker.ipc.descriptors import unshare_at_fork
from worker.loop import Loop
from worker.memory import limit_memory
from worker.model_places import ModelRejected, reject_models_elsewhere
from worker.ollama.address import server_name
from worker.ollama.transport import trusted_authorities
from worker.queue.connection import Connection, UnsuitableDatabase, connect
from worker.queue.permit_sessions import worker_name
from worker.report import Report
from worker.session import Session
from worker.settings import ADAPTERS, WorkerSettings
from worker.usage import JobUsage
from worker.wakeups import Wakeups


def preload() -> None:
    """Imports our adapters once before the first fork, so that all workers share their memory (18 MB).

    Foreign adapters are left out, because their imports may have side effects. An import error is reported later, by the worker
    that needs the module.
    """
    with contextlib.suppress(ImportError):
        for module_name in ADAPTERS["local"]:
            importlib.import_module(module_name)
    trusted_authorities()


def run(wiring: Wiring, settings: WorkerSettings, exported: Mapping[str, str] = MappingProxyType({})) -> int:
    """Runs one worker and returns its exit code. Signals stay blocked until `Wakeups.install`.

    `exported` are variables that adapters of another package read from the environment.
    """
    limit_memory(wiring.memory_bytes)
    wakeups = Wakeups(wiring.wake_fd, wiring.lifeline_fd, lambda: wiring.scoreboard.control.read().is_retiring(wiring.slot))
    unshare_at_fork(wiring.scoreboard)  # the pipe of the wake-ups too
    report = Report(wiring)
    report.enter_activity(Activity.BOOT)  # without a deadline here: the supervisor applies BOOT_TIMEOUT_SECONDS
    wakeups.install()
    try:
        prepare(settings, exported)
        return _work(wiring, settings, report, wakeups)
    except (UnsuitableDatabase, AdapterMissing, ModelRejected) as refusal:
        report.send(EventKind.UNSUITABLE, error_class=str(refusal))
        return ExitCode.CONFIG
    except BaseException as bug:  # noqa: BLE001  last handler of the process: reports class and location
        report.send(EventKind.BUG, error_class=f"{type(bug).__name__} at {place_of(bug)}")
        return ExitCode.BUG


def _work(wiring: Wiring, settings: WorkerSettings, report: Report, wakeups: Wakeups) -> int:
    session = Session(_connector(wiring, settings), report, wakeups)
    usage = JobUsage(report, session)
    vision_adapter = _adapter(Step.VISION, settings.vision_adapter, settings, report, usage)
    feedback_adapter = _adapter(Step.FEEDBACK, settings.feedback_adapter, settings, report, usage)
    reject_models_elsewhere(settings)
    report.sample_memory()
    report.send(EventKind.BOOTED)
    ctx = WorkerContext(
        wiring,
        Admission(wiring, settings),
        settings,
        vision_adapter,
        feedback_adapter,
        options_of(feedback_adapter),
        server_name(settings.ollama_base_url),
        report,
        wakeups,
        session,
        usage,
        reads_by_attempt(vision_adapter),
        practice := load_practice(),
        abilities_of(vision_adapter, feedback_adapter, settings, has_practice=practice is not None),
    )
    Loop(ctx).run()
    return ExitCode.DONE


def _adapter(step: Step, module_name: str, settings: WorkerSettings, report: Report, usage: JobUsage) -> Any:
    return load_adapter(module_name, settings, report.progress, functools.partial(report.report_call, step), usage.add)


def _connector(wiring: Wiring, settings: WorkerSettings) -> Callable[[], Connection]:
    return functools.partial(
        connect,
        settings.learning_database_url.get_secret_value(),
        worker_name(wiring.slot, os.getpid(), wiring.incarnation),
        allows_service_role=settings.allows_service_role,
        pooled=settings.database_pooled,
    )
