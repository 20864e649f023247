"""A worker process: the first code after the fork, and what is imported before it."""

import contextlib
import functools
import importlib
import os

from worker.adapters.loading import AdapterMissing, load_adapter, options_of
from worker.admission import Admission
from worker.ipc.contract import Activity, EventKind, ExitCode, Step, Wiring, place_of
from worker.lease import WorkerContext
from worker.loop import Loop
from worker.memory import limit_memory
from worker.ollama.address import server_name
from worker.ollama.transport import trusted_authorities
from worker.queue.connection import UnsuitableDatabase, connect
from worker.report import Report
from worker.session import Session
from worker.settings import ADAPTERS, WorkerSettings
from worker.wakeups import Wakeups


def preload() -> None:
    """Called once before the first fork: what is loaded here takes its memory once and not in each worker (18 MB).

    Our own adapters only: what another package does at its import, nobody knows. What cannot be loaded is told by the worker
    that needs it.
    """
    with contextlib.suppress(ImportError):
        for module_name in ADAPTERS["local"]:
            importlib.import_module(module_name)
    trusted_authorities()


def run(wiring: Wiring, settings: WorkerSettings) -> int:
    """Runs one worker to its end; the exit code. Expects signals blocked until its handlers stand."""
    limit_memory(wiring.memory_bytes)
    report = Report(wiring)
    report.enter(Activity.BOOT)  # the supervisor bounds it: BOOT_TIMEOUT_SECONDS
    inbox = Wakeups(wiring.wake_fd, wiring.lifeline_fd, lambda: wiring.scoreboard.control().is_retiring(wiring.slot))
    inbox.install()
    try:
        return _work(wiring, settings, report, inbox)
    except (UnsuitableDatabase, AdapterMissing) as refusal:
        report.send(EventKind.REFUSED, error_class=str(refusal))
        return ExitCode.CONFIG
    except Exception as bug:  # noqa: BLE001  the last line of the process: told by class and ctx, then the exit code
        report.send(EventKind.BUG, error_class=f"{type(bug).__name__} at {place_of(bug)}")
        return ExitCode.BUG


def _work(wiring: Wiring, settings: WorkerSettings, report: Report, inbox: Wakeups) -> int:
    vision = load_adapter(settings.vision_adapter, settings, report.progress, functools.partial(report.tell, Step.VISION))
    feedback = load_adapter(settings.feedback_adapter, settings, report.progress, functools.partial(report.tell, Step.FEEDBACK))
    opener = functools.partial(
        connect,
        settings.learning_database_url.get_secret_value(),
        f"learning-supervisor slot {wiring.slot} pid {os.getpid()}",
        allows_service_role=settings.allow_service_dsn_for_testing,
        pooled=settings.database_pooled,
    )
    session = Session(opener, report, inbox)
    report.weigh()
    report.send(EventKind.BOOTED)
    admission = Admission(wiring, settings)
    server = server_name(settings.ollama_base_url)
    options = options_of(feedback)
    ctx = WorkerContext(wiring, admission, settings, vision, feedback, options, server, report, inbox, session)
    Loop(ctx).run()
    return ExitCode.DONE
