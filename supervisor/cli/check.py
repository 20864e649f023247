"""What `check` looks at before the first job: the installation, the settings, the database, the adapters."""

import importlib.metadata
from collections.abc import Iterator
from typing import Literal

from supervisor.adapters.instance import Instance, RuntimeDirectoryError
from supervisor.findings import Finding, Level
from supervisor.settings.model import Settings
from worker.adapters.loading import AdapterMissing, load_adapter
from worker.core.errors import Unavailable
from worker.ollama.client import Ollama
from worker.ollama.errors import BadRequest, ServerFailed
from worker.queue import connection as queue
from worker.queue.contract_check import inspect

DISTRIBUTION = "learning-supervisor"
MONITOR_CONNECTIONS = 1


def findings(settings: Settings) -> list[Finding]:
    """Nothing is changed anywhere; the settings themselves have been read, so they are in order."""
    return [
        Finding(Level.OK, "settings"),
        *_installation(),
        *_runtime(settings),
        *_adapters(settings),
        *_models(settings),
        *_database(settings),
    ]


def _installation() -> Iterator[Finding]:
    """supervisord brings a package of the same import name; whichever was installed last would win."""
    owners = set(importlib.metadata.packages_distributions().get("supervisor", ())) - {DISTRIBUTION}
    if owners:
        remedy = f"{', '.join(sorted(owners))} brings a package `supervisor` too: give {DISTRIBUTION} an environment of its own"
        yield Finding(Level.FAILED, "import name `supervisor`", remedy)
    else:
        yield Finding(Level.OK, "import name `supervisor` is ours alone")


def _runtime(settings: Settings) -> Iterator[Finding]:
    try:
        instance = Instance(settings.supervisor.runtime_path, settings.worker.database)
    except RuntimeDirectoryError as refusal:
        yield Finding(Level.FAILED, "runtime directory", str(refusal))
    else:
        instance.retire()
        yield Finding(Level.OK, f"runtime directory {instance.directory}")


def _adapters(settings: Settings) -> Iterator[Finding]:
    worker = settings.worker
    for role, module in (("vision", worker.vision_adapter), ("feedback", worker.feedback_adapter)):
        try:
            load_adapter(module, worker, lambda: None)
        except Exception as error:  # noqa: BLE001  whatever a foreign module raises is a finding
            reason = str(error) if isinstance(error, AdapterMissing) else f"adapter module {module}: {type(error).__name__}"
            yield Finding(Level.FAILED, reason, f"correct LEARNING_{role.upper()}_ADAPTER or install its package")
        else:
            yield Finding(Level.OK, f"{role} adapter {module}")
    if worker.invents_something:
        yield Finding(Level.WARNING, "a stub adapter is in use", "results are invented, no model is asked: set AI_BACKEND=local")
    elif not (worker.storage_verify_root or worker.supabase_url):
        yield Finding(Level.FAILED, "files of submissions", "set STORAGE_VERIFY_ROOT or SUPABASE_URL: no picture could be read")


def _models(settings: Settings) -> Iterator[Finding]:
    """For our own adapters; whom a foreign one asks is not known here."""
    worker = settings.worker
    models: dict[Literal["vision", "feedback"], str] = {"vision": worker.ai_vision_model, "feedback": worker.ai_feedback_model}
    asked = ((f"AI_{step.upper()}_MODEL", model) for step, model in models.items() if worker.asks_ollama(step))
    yield from dict.fromkeys(_model(worker.ollama_base_url, *each) for each in asked)  # a server that is away is told once


def _model(base_url: str, variable: str, model: str) -> Finding:
    try:
        digest = Ollama(base_url, lambda: None).digest(model)
    except (ServerFailed, BadRequest, Unavailable) as failure:
        return Finding(
            Level.FAILED, f"Ollama at {base_url}: {type(failure).__name__}", "see that it runs, or correct OLLAMA_BASE_URL"
        )
    if digest is None:
        return Finding(
            Level.FAILED, f"model {model} is not on the Ollama server", f"`ollama pull {model}`, or correct {variable}"
        )
    return Finding(Level.OK, f"model {model}")


def _database(settings: Settings) -> Iterator[Finding]:
    worker = settings.worker
    dsn = worker.learning_database_url.get_secret_value()
    try:
        allows = worker.allow_service_dsn_for_testing
        connection = queue.connect(dsn, f"{DISTRIBUTION} check", allows_service_role=allows, pooled=worker.database_pooled)
    except queue.DatabaseUnavailable as outage:
        reason = str(outage.__cause__).strip().splitlines()[0]  # libpq names host and role, never the password
        yield Finding(Level.FAILED, "database", f"{reason}: look at LEARNING_DATABASE_URL and at the server")
        return
    except queue.UnsuitableDatabase as refusal:
        yield Finding(Level.FAILED, "database", str(refusal))
        return
    with connection:
        yield Finding(Level.OK, f"database: PostgreSQL {connection.info.server_version // 10_000}")
        if queue.is_pooled(connection):
            remedy = "jobs are found by polling alone, and permits count on each host for itself: connect directly if you can"
            yield Finding(Level.WARNING, "a transaction pooler is in between", remedy)
        for finding in inspect(connection, settings.supervisor.worker_concurrency + MONITOR_CONNECTIONS):
            yield Finding(Level.FAILED if finding.remedy else Level.OK, finding.subject, finding.remedy)
