"""The findings of `check`: installation, settings, adapters, models and database, before the first job."""

import importlib.metadata
from collections.abc import Iterator
from contextlib import suppress

from supervisor.adapters.authorities import ensure_authorities
from supervisor.adapters.cannot_start import CannotStart
from supervisor.adapters.descriptor_limit import ensure_descriptors
from supervisor.adapters.instance import Instance
from supervisor.adapters.runtime_directory import RuntimeDirectoryError
from supervisor.findings import Finding, Level
from supervisor.settings.model import Settings
from worker.adapters.loading import AdapterMissing, load_adapter
from worker.ipc.contract import Step
from worker.ollama.api import SHOW
from worker.ollama.client import Ollama
from worker.ollama.errors import REQUEST_FAILURES
from worker.queue import connection as queue
from worker.queue.contract_check import inspect, stuck_rows

DISTRIBUTION = "learning-supervisor"
MONITOR_CONNECTIONS = 1


def findings(settings: Settings) -> list[Finding]:
    """Change nothing. The settings are in order, because they have been read."""
    return [
        Finding(Level.OK, "settings"),
        *_installation(),
        *_open_files(),
        *_runtime(settings),
        *_clients(settings),
        *_database(settings),
    ]


def _installation() -> Iterator[Finding]:
    """supervisord has a package of the same import name, and the one installed last would be imported."""
    owners = set(importlib.metadata.packages_distributions().get("supervisor", ())) - {DISTRIBUTION}
    if owners:
        remedy = (
            f"{', '.join(sorted(owners))} has a package `supervisor` too: install {DISTRIBUTION} in an environment of its own"
        )
        yield Finding(Level.FAILED, "import name `supervisor`", remedy)
    else:
        yield Finding(Level.OK, "import name `supervisor` has no second package")


def _open_files() -> Iterator[Finding]:
    try:
        ensure_descriptors()
    except CannotStart as error:
        yield Finding(Level.FAILED, str(error))
    else:
        yield Finding(Level.OK, "limit of open files")


def _runtime(settings: Settings) -> Iterator[Finding]:
    try:
        instance = Instance(settings.supervisor.runtime_path, settings.worker.database)
    except RuntimeDirectoryError as error:
        yield Finding(Level.FAILED, "runtime directory", str(error))
    else:
        instance.retire()
        yield Finding(Level.OK, f"runtime directory {instance.directory}")


def _clients(settings: Settings) -> Iterator[Finding]:
    """The adapters and the models. Without certificates no client can be made."""
    try:
        ensure_authorities()
    except CannotStart as error:
        yield Finding(Level.FAILED, str(error))
    else:
        yield from _adapters(settings)
        yield from _models(settings)
        yield from _places(settings)


def _adapters(settings: Settings) -> Iterator[Finding]:
    worker = settings.worker
    for step, module in ((Step.VISION, worker.vision_adapter), (Step.FEEDBACK, worker.feedback_adapter)):
        try:
            load_adapter(module, worker, lambda: None)
        except Exception as error:  # noqa: BLE001  a foreign module may raise anything
            reason = str(error) if isinstance(error, AdapterMissing) else f"adapter module {module}: {type(error).__name__}"
            yield Finding(Level.FAILED, reason, f"correct LEARNING_{step.name}_ADAPTER, or install its package")
        else:
            yield Finding(Level.OK, f"{step.value} adapter {module}")
    if worker.invents_something:
        yield Finding(
            Level.WARNING, "a stub adapter is in use", "results are invented and no model is used: set AI_BACKEND=local"
        )
    elif not (worker.storage_verify_root or worker.supabase_url):
        yield Finding(
            Level.FAILED, "files of submissions", "set STORAGE_VERIFY_ROOT or SUPABASE_URL, else no picture can be read"
        )


def _models(settings: Settings) -> Iterator[Finding]:
    """The models of the product's own adapters. Those of a foreign adapter are not known."""
    worker = settings.worker
    models = {Step.VISION: worker.ai_vision_model, Step.FEEDBACK: worker.ai_feedback_model}
    used = (_model(worker.ollama_base_url, step, name) for step, name in models.items() if worker.asks_ollama(step.value))
    yield from dict.fromkeys(used)  # a server that is down is one finding


def _model(base_url: str, step: Step, model: str) -> Finding:
    try:
        digest = Ollama(base_url).digest(model)
    except REQUEST_FAILURES as error:
        remedy = "start Ollama, or correct OLLAMA_BASE_URL"
        return Finding(Level.FAILED, f"Ollama at {base_url} sent no list of models ({type(error).__name__})", remedy)
    if digest is None:
        remedy = f"run `ollama pull {model}`, or correct AI_{step.name}_MODEL"
        return Finding(Level.FAILED, f"model {model} is not on the Ollama server", remedy)
    return Finding(Level.OK, f"model {model}")


def _places(settings: Settings) -> Iterator[Finding]:
    """The models of our adapters that run elsewhere, although a local Ollama lists them."""
    worker = settings.worker
    for step, model in ((Step.VISION, worker.ai_vision_model), (Step.FEEDBACK, worker.ai_feedback_model)):
        host = _remote_host(worker.ollama_base_url, model) if worker.asks_ollama(step.value) else ""
        if not host:
            continue
        subject = f"model {model} runs outside of the house ({host})"
        if worker.ai_send_pupils_work_to_cloud:
            yield Finding(Level.WARNING, subject, "pupils' work is sent there, as AI_SEND_PUPILS_WORK_TO_CLOUD=true allows")
        else:
            remedy = f"pupils' work would leave the house: set AI_{step.name}_MODEL to a local model"
            yield Finding(Level.FAILED, subject, remedy)


def _remote_host(base_url: str, model: str) -> str:
    """Empty for a model that runs here, and for a server without an answer, which is a finding of its own."""
    with suppress(*REQUEST_FAILURES):
        description = Ollama(base_url).look_up(SHOW, {"model": model})
        return description.remote_host or description.remote_model
    return ""


def _database(settings: Settings) -> Iterator[Finding]:
    worker = settings.worker
    dsn = worker.learning_database_url.get_secret_value()
    try:
        allows = worker.allow_service_dsn_for_testing
        connection = queue.connect(dsn, f"{DISTRIBUTION} check", allows_service_role=allows, pooled=worker.database_pooled)
    except queue.DatabaseUnavailable as outage:
        reason = str(outage.__cause__).strip().splitlines()[0]  # libpq names host and role, never the password
        yield Finding(Level.FAILED, "database", f"{reason}: check LEARNING_DATABASE_URL and the server")
    except queue.UnsuitableDatabase as error:
        yield Finding(Level.FAILED, "database", str(error))
    else:
        with connection:
            yield from _contract(connection, settings)


def _contract(connection: queue.Connection, settings: Settings) -> Iterator[Finding]:
    yield Finding(Level.OK, f"database: PostgreSQL {connection.info.server_version // 10_000}")
    if queue.is_pooled(connection):
        remedy = "new jobs start later and hosts cannot share their limits: connect directly if you can"
        yield Finding(Level.WARNING, "the database is behind a transaction pooler", remedy)
    points = list(inspect(connection, settings.supervisor.worker_concurrency + MONITOR_CONNECTIONS))
    for point in points:
        yield Finding(Level.FAILED if point.remedy else Level.OK, point.subject, point.remedy)
    if not any(point.remedy for point in points) and (stuck := stuck_rows(connection)):
        yield Finding(Level.WARNING, stuck.subject, stuck.remedy)
