"""The findings of `check`: installation, settings, adapters, models and database, before the first job."""

import functools
import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from supervisor.adapters.authorities import ensure_authorities
from supervisor.adapters.cannot_start import CannotStart
from supervisor.adapters.descriptor_limit import ensure_descriptors
from supervisor.adapters.instance import Instance
from supervisor.adapters.processes import THREADS_MEANING, THREADS_REMEDY, other_threads
from supervisor.adapters.runtime_directory import RuntimeDirectoryError, StateUnknown, as_before
from supervisor.cli.child import Account, findings_of, service_account
from supervisor.cli.files_trial import files
from supervisor.cli.fonts_trial import fonts
from supervisor.cli.instances import documents
from supervisor.cli.left_trial import left_jobs
from supervisor.cli.port_trial import status_address
from supervisor.doctor.model import VISION
from supervisor.findings import Finding, Level, worst_level
from supervisor.monitor.outages import remedy_of
from supervisor.settings.model import Settings, has_secret
from supervisor.settings.problems import Problem
from worker.ipc.contract import Step
from worker.ollama.api import SHOW, TAGS, Description
from worker.ollama.client import Ollama
from worker.ollama.errors import REQUEST_FAILURES, InvalidReply, NameUnresolved, ServerUnreachable
from worker.queue import connection as queue
from worker.queue.contract_check import inspect, jobs_ahead, stuck_rows, waiting_files
from worker.queue.dsn import password_of
from worker.queue.platform_probe import PRACTICE, QUEUE, USAGE, PlatformProbe, probe
from worker.settings import WorkerSettings
from worker.trial import adapter_fault, adapter_module, missing_prerequisites

DISTRIBUTION = "learning-supervisor"
MONITOR_CONNECTIONS = 1
FOR_OTHERS, WRITABLE_BY_OTHERS = 0o004, 0o022
_WITHHELD = {
    QUEUE: ("the queue", "no job is done"),
    USAGE: ("usage events", "the tokens of the answers are not recorded"),
    PRACTICE: ("practice attempts", "practice attempts stay queued"),
}
_CHECK_DSN = "check host, port and the options in LEARNING_DATABASE_URL, and that the server runs"
_OLLAMA_REMEDIES: dict[type[Exception], str] = {
    ServerUnreachable: "start Ollama, or correct OLLAMA_BASE_URL",
    NameUnresolved: "correct the host name in OLLAMA_BASE_URL, or repair the name servers of this host",
    InvalidReply: "another program answers there: correct host and port in OLLAMA_BASE_URL",
}


def findings(settings: Settings, env_file: Path) -> list[Finding]:
    """Change nothing. The settings are in order, because they have been read."""
    account = service_account(settings.supervisor.runtime_path, env_file)
    return [
        Finding(Level.OK, "settings"),
        *_unknown(settings),
        *_settings_file(env_file, account),
        *_installation(),
        *_threads(),
        *_open_files(),
        *findings_of(lambda: _runtime(settings), "runtime directory", account),
        *_port(settings, account),
        *findings_of(fonts, "fonts for PDFs", account),
        *_clients(settings, account),
        *_database(settings, account),
    ]


def wrong_settings(problems: Sequence[Problem]) -> list[Finding]:
    """One failed finding for each wrong setting. Nothing else can be checked then."""
    return [Finding(Level.FAILED, problem.subject, problem.remedy) for problem in problems]


def _unknown(settings: Settings) -> Iterator[Finding]:
    for variable in settings.unknown:
        yield Finding(Level.WARNING, f"{variable.name} in the environment", variable.remedy)


def _settings_file(env_file: Path, account: Account | None) -> Iterator[Finding]:
    """The file contains the password of the database or a key, which every user of the host could read."""
    try:
        mode = env_file.stat().st_mode
    except OSError:
        return  # there is none, and all settings come from other sources
    if mode & FOR_OTHERS and has_secret(env_file):
        yield Finding(Level.FAILED, f"settings file {env_file}", f"other users can read its secrets: run `chmod 600 {env_file}`")
    elif mode & WRITABLE_BY_OTHERS:
        yield Finding(Level.FAILED, f"settings file {env_file}", f"other users can change it: run `chmod 600 {env_file}`")
    else:
        yield from findings_of(lambda: _readable(env_file), f"settings file {env_file}", account)


def _readable(env_file: Path) -> Iterator[Finding]:
    """Runs in the child with the service's rights."""
    subject = f"settings file {env_file}"
    if os.access(env_file, os.R_OK):
        yield Finding(Level.OK, subject)
    else:
        yield Finding(Level.FAILED, subject, "the user of the service cannot read it: make that user its owner")


def _threads() -> Iterator[Finding]:
    """A thread that runs before the first fork. The supervisor would not fork at all."""
    if names := other_threads():
        remedy = f"{THREADS_MEANING}: {THREADS_REMEDY}"
        yield Finding(Level.FAILED, f"threads before the first fork: {', '.join(names)}", remedy)
    else:
        yield Finding(Level.OK, "no thread before the first fork")


def _port(settings: Settings, account: Account | None) -> Iterator[Finding]:
    address = settings.supervisor.status_addr
    served: list[str] = []
    with suppress(StateUnknown):  # an address that is in use is a finding then
        served = [document.get("metrics_address", "") for document in documents(settings.supervisor.runtime_path).values()]
    yield from findings_of(lambda: status_address(address, served), f"STATUS_ADDR {address}", account)


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
    """Runs in the child with the service's rights: a directory made by root would be closed to the service."""
    directory = settings.supervisor.runtime_path
    try:
        with as_before(directory):
            Instance(directory, settings.worker.database).retire()
    except RuntimeDirectoryError as error:
        yield Finding(Level.FAILED, "runtime directory", str(error))
    else:
        yield Finding(Level.OK, f"runtime directory {directory}")


def _clients(settings: Settings, account: Account | None) -> Iterator[Finding]:
    """The adapters and the models. Without certificates no client can be made."""
    try:
        ensure_authorities()
    except CannotStart as error:
        yield Finding(Level.FAILED, str(error))
    else:
        yield from _adapters(settings, account)
        yield from _models(settings)
        yield from _descriptions(settings)


def _adapters(settings: Settings, account: Account | None) -> Iterator[Finding]:
    worker = settings.worker
    for step in (Step.VISION, Step.FEEDBACK):
        trial = functools.partial(_adapter, settings, step)
        yield from findings_of(trial, f"adapter module {adapter_module(worker, step)}", account)
    if worker.invents_something:
        yield Finding(
            Level.WARNING, "a stub adapter is in use", "results are invented and no model is used: set AI_BACKEND=local"
        )


def _adapter(settings: Settings, step: Step) -> Iterator[Finding]:
    """Runs in the child with the service's rights."""
    if fault := adapter_fault(settings.worker, settings.exported, step):
        yield Finding(Level.FAILED, *fault)
        return
    yield Finding(Level.OK, f"{step.value} adapter {adapter_module(settings.worker, step)}")
    missing = missing_prerequisites(settings.worker, step)
    for name in missing.variables:
        remedy = "set it in the settings file or in the environment: without it submissions wait"
        yield Finding(Level.FAILED, f"{step.value} adapter: {name} is not set", remedy)
    for name in missing.variables_of_a_mode:
        remedy = "set it if submissions need this model: without it they wait"
        yield Finding(Level.WARNING, f"{step.value} adapter: {name} is not set", remedy)
    if step is Step.FEEDBACK and missing.needs_setup and not settings.worker.learning_worker_setup:
        remedy = "set it, as docs/platform-adapters.md shows: without it the adapters of 2025-12 ask no model for feedback"
        yield Finding(Level.WARNING, f"{step.value} adapter: LEARNING_WORKER_SETUP is not set", remedy)
    for name in missing.packages:
        remedy = "install it in the environment of the service: the adapter imports it when it is called"
        yield Finding(Level.WARNING, f"{step.value} adapter: package {name} is not installed", remedy)


def _models(settings: Settings) -> Iterator[Finding]:
    """The models of the product's own adapters. Those of a foreign adapter are not known."""
    worker = settings.worker
    models = {Step.VISION: worker.ai_vision_model, Step.FEEDBACK: worker.ai_feedback_model}
    used = (_model(worker.ollama_base_url, step, name) for step, name in models.items() if worker.asks_ollama(step.value))
    yield from dict.fromkeys(used)  # a server that is down is one finding


def _model(base_url: str, step: Step, model: str) -> Finding:
    try:
        installed = Ollama(base_url).look_up(TAGS).find(model)
    except REQUEST_FAILURES as error:
        remedy = _OLLAMA_REMEDIES.get(type(error), "read Ollama's log, or correct OLLAMA_BASE_URL")
        return Finding(Level.FAILED, f"Ollama at {base_url} sent no list of models ({type(error).__name__})", remedy)
    if installed is None:
        remedy = f"run `ollama pull {model}`, or correct AI_{step.name}_MODEL"
        return Finding(Level.FAILED, f"model {model} is not on the Ollama server", remedy)
    return Finding(Level.OK, f"model {model}")


def _descriptions(settings: Settings) -> Iterator[Finding]:
    """The models of our adapters, as Ollama describes them. A server without an answer is a finding of its own."""
    worker = settings.worker
    for step, model in ((Step.VISION, worker.ai_vision_model), (Step.FEEDBACK, worker.ai_feedback_model)):
        if not worker.asks_ollama(step.value):
            continue
        with suppress(*REQUEST_FAILURES):
            description = Ollama(worker.ollama_base_url).look_up(SHOW, {"model": model})
            yield from _place(worker, step, model, description)
            yield from _sight(step, model, description)


def _place(worker: WorkerSettings, step: Step, model: str, description: Description) -> Iterator[Finding]:
    """A model that runs elsewhere, although a local Ollama lists it."""
    if not (host := description.remote_host or description.remote_model):
        return
    subject = f"model {model} runs outside of the house ({host})"
    if worker.ai_send_pupils_work_to_cloud:
        yield Finding(Level.WARNING, subject, "pupils' work is sent there, as AI_SEND_PUPILS_WORK_TO_CLOUD=true allows")
    else:
        remedy = f"pupils' work would leave the house: set AI_{step.name}_MODEL to a local model"
        yield Finding(Level.FAILED, subject, remedy)


def _sight(step: Step, model: str, description: Description) -> Iterator[Finding]:
    """A model for pages that cannot see them. An old Ollama lists no capabilities, so nothing is known then."""
    if step is Step.VISION and description.capabilities and VISION not in description.capabilities:
        remedy = "no page could be read: set AI_VISION_MODEL to a vision model, such as qwen2.5vl:3b"
        yield Finding(Level.FAILED, f"model {model} cannot see pictures", remedy)


def _database(settings: Settings, account: Account | None) -> Iterator[Finding]:
    """The database, and the files, of which the queue tells if pictures wait for them."""
    worker = settings.worker
    dsn = worker.learning_database_url.get_secret_value()
    waiting: list[dict[str, Any]] = []
    yield Finding(Level.OK, f"database login from {settings.login_variable}")
    try:
        allows = worker.allows_service_role
        connection = queue.connect(dsn, f"{DISTRIBUTION} check", allows_service_role=allows, pooled=worker.database_pooled)
    except queue.DatabaseUnavailable as outage:
        yield Finding(Level.FAILED, "database", f"{_reason(outage, dsn)}: {remedy_of(str(outage)) or _CHECK_DSN}")
    except queue.UnsuitableDatabase as error:
        yield Finding(Level.FAILED, "database", str(error))
    else:
        with connection:
            points = list(_contract(connection, settings))
            yield from points
            if worst_level(points) is not Level.FAILED:
                waiting = waiting_files(connection)
                yield from _left_jobs(settings, account)
    if not worker.is_stub("vision"):
        yield from findings_of(lambda: files(worker, waiting), "files of submissions", account)


def _left_jobs(settings: Settings, account: Account | None) -> Iterator[Finding]:
    """Only warnings: an adapter that ends or hangs the trial has a failed line already."""
    found = findings_of(lambda: left_jobs(settings.worker, settings.exported), "jobs that stay queued", account)
    yield from (finding for finding in found if finding.level is Level.WARNING)


def _reason(outage: queue.DatabaseUnavailable, dsn: str) -> str:
    """The first line of libpq's message: host and role, without the password, also where it was written into another part."""
    reason, password = str(outage.__cause__).strip().splitlines()[0], password_of(dsn)
    return reason.replace(password, "***") if password else reason


def _contract(connection: queue.Connection, settings: Settings) -> Iterator[Finding]:
    yield Finding(Level.OK, f"database: PostgreSQL {connection.info.server_version // 10_000}")
    if queue.is_pooled(connection):
        remedy = "new jobs start later and hosts cannot share their limits: connect directly if you can"
        yield Finding(Level.WARNING, "the database is behind a transaction pooler", remedy)
    yield from _platform(probe(connection))
    points = list(inspect(connection, settings.supervisor.worker_concurrency + MONITOR_CONNECTIONS))
    for point in points:
        yield Finding(Level.FAILED if point.remedy else Level.OK, point.subject, point.remedy)
    if not any(point.remedy for point in points):
        for point in filter(None, (stuck_rows(connection), jobs_ahead(connection))):
            yield Finding(Level.WARNING, point.subject, point.remedy)


def _platform(found: PlatformProbe) -> Iterator[Finding]:
    """The schema that was found, with its features, and a role that lacks rights of a worker."""
    listed = ", ".join(f"{name} {'on' if is_on else 'off'}" for name, is_on in found.features.items())
    yield Finding(Level.OK, f"database schema of {'2026' if found.is_of_2026 else '2025-12'}: {listed}")
    if found.withheld:
        yield _unfit_role(found)


def _unfit_role(found: PlatformProbe) -> Finding:
    withheld = [(name, effect) for group, (name, effect) in _WITHHELD.items() if group in found.withheld]
    subject = f"the role {found.role} has not the rights of a worker for {', '.join(name for name, _ in withheld)}"
    remedy = "use the role {0}, or a member of it" if found.fitting_role else "grant them to it"
    effects = ", and ".join(effect for _, effect in withheld)
    return Finding(Level.WARNING, subject, f"{effects}: {remedy.format(found.fitting_role)}")
