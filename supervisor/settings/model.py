"""All settings from flag, credentials file, environment, .env and default. Only this module reads os.environ."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from supervisor.core.policy import MEBIBYTE
from supervisor.settings.memory_size import MemorySize
from supervisor.settings.problems import OWN_MESSAGE, Problem, SettingsError, remedy_for, shown
from supervisor.settings.sources import EnvFile, Unreadable, credentials, read_env_file
from supervisor.settings.unknown import UnknownVariable, unknown_among
from worker.amounts import MemoryBytes, Seconds
from worker.queue.dsn import missing_authority_of, password_of
from worker.settings import WorkerSettings

MAX_PORT = 65_535
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|localhost|\[::1\]")
_TRUTHS = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
_LEVELS_OF_PYTHON = {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR", "NOTSET": "DEBUG"}
Model = TypeVar("Model", bound=BaseModel)


def _loopback_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not _LOOPBACK.fullmatch(host) or not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError("give a loopback address and a port, such as 127.0.0.1:9464")
    return address


def _level(word: str) -> str:
    """Translate the levels of Python's logging that have another name here, or are above the most severe one."""
    return _LEVELS_OF_PYTHON.get(word.upper(), word)


def _size(text: str) -> str:
    MemorySize.parse(text)
    return text


class SupervisorSettings(BaseModel):
    """Settings of the supervisor and the monitor. One field is one setting: its variable is the field's name in capitals."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    worker_concurrency: Annotated[int, Field(ge=1, le=64, description="number of workers (`--procs`)")] = 1
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        BeforeValidator(_level),
        Field(description="least severe level that is logged. Python's other names are known: WARN, CRITICAL, FATAL"),
    ] = "INFO"
    status_addr: Annotated[
        str,
        BeforeValidator(_loopback_address),
        Field(description="loopback address of /metrics and /healthz; port 0 picks a free one"),
    ] = "127.0.0.1:9464"
    runtime_directory: Annotated[
        str, Field(description="private directory of locks and control sockets; empty: one per user")
    ] = ""
    drain_timeout_seconds: Annotated[
        Seconds,
        Field(ge=1, le=3600, description="time for running jobs to finish after SIGTERM; the rest goes back to the queue"),
    ] = 60
    drain_shortened_seconds: Annotated[
        Seconds, Field(ge=0, le=600, description="time left to running jobs after a second SIGTERM or SIGINT")
    ] = 5
    boot_timeout_seconds: Annotated[
        Seconds, Field(ge=1, le=600, description="longest time from a worker's fork to its first query of the queue")
    ] = 30
    restart_backoff_seconds: Annotated[
        Seconds, Field(ge=0.1, le=60, description="wait before the second restart in a row; doubles with each further one")
    ] = 1
    restart_backoff_max_seconds: Annotated[Seconds, Field(ge=1, le=3600, description="longest wait before a restart")] = 60
    healthy_after_seconds: Annotated[
        Seconds, Field(ge=1, le=3600, description="a worker that has run this long ends a row of crashes")
    ] = 10
    restart_intensity: Annotated[int, Field(ge=2, le=1000, description="give up after this many crashes without progress")] = 5
    restart_window_seconds: Annotated[
        Seconds, Field(ge=1, le=3600, description="give up no earlier than this long after the last progress")
    ] = 60
    worker_memory_soft_bytes: Annotated[
        MemoryBytes,
        Field(ge=0, le=2**40, description="a worker that has grown by this since its boot is replaced after its job; 0: off"),
    ] = 512 * MEBIBYTE
    worker_memory_hard_bytes: Annotated[
        MemoryBytes, Field(ge=0, le=2**40, description="a worker whose resident memory exceeds this is killed; 0: off")
    ] = 1024 * MEBIBYTE
    worker_minimum_lifetime_seconds: Annotated[
        Seconds, Field(ge=0, le=86_400, description="a younger worker is not replaced for its memory")
    ] = 60

    ollama_memory_limit: Annotated[
        str,
        BeforeValidator(_size),
        Field(description="no job starts while Ollama holds more than this: bytes, 8G, or 80% of this host; empty: no limit"),
    ] = ""
    ollama_memory_low_water: Annotated[
        str,
        BeforeValidator(_size),
        Field(description="below this, held back workers start jobs again: bytes, 7G, or a share of the limit"),
    ] = "85%"
    admission_max_hold_seconds: Annotated[
        Seconds,
        Field(ge=5, le=3600, description="after this long held back without a running job, unload models, then admit one job"),
    ] = 60
    admission_sample_seconds: Annotated[
        Seconds, Field(ge=0.1, le=60, description="interval of the measurements of Ollama and of this host's memory")
    ] = 1
    ollama_max_loaded_models: Annotated[
        int,
        Field(ge=0, le=64, description="as set on the Ollama server; with 1 two models take turns; 0: not set there"),
    ] = 0
    ollama_cgroup: Annotated[
        str, Field(description="Ollama's cgroup, whose memory.current is read; empty: its processes are measured")
    ] = ""
    ollama_load_timeout_seconds: Annotated[
        Seconds, Field(ge=5, le=3600, description="longest time for loading a model before jobs need it")
    ] = 300
    ai_take_turns: Annotated[
        Literal["auto", "true", "false"],
        Field(description="use two models one after the other; auto: only if they measurably slow each other down"),
    ] = "auto"

    @property
    def runtime_path(self) -> Path:
        """The runtime directory, by default one per user below the directory of temporary files."""
        return Path(self.runtime_directory) if self.runtime_directory else default_runtime_path()


def default_runtime_path() -> Path:
    """The runtime directory of this user without a setting."""
    return Path(gettempdir()) / f"learning-supervisor-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one generation. `unknown` are variables of the environment that look like settings and are none.

    `exported` are the variables of the settings file and of the credentials that the environment has not, for foreign adapters.
    `login_variable` is the name of the variable with the login at the database, or with its password.
    """

    supervisor: SupervisorSettings
    worker: WorkerSettings
    unknown: tuple[UnknownVariable, ...] = ()
    exported: Mapping[str, str] = field(default_factory=dict, repr=False)  # may have secrets
    login_variable: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting for the documentation."""

    variable: str
    default: str
    bound: str
    help: str
    is_secret: bool


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The service manager's socket (sd_notify(3)), and its watchdog interval if it has one."""

    address: str  # a path, or @ and an abstract name
    watchdog_seconds: float | None


def take_service_manager() -> ServiceManager | None:
    """Remove its variables from the environment, so that no child process can send its notifications."""
    address, usec, pid = (os.environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
    is_watched = usec.isdecimal() and int(usec) > 0 and pid in {"", str(os.getpid())}
    return ServiceManager(address, int(usec) / 1_000_000 if is_watched else None) if address else None


def read_settings(flags: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """Each setting from the first source that has a value: flag, credentials, environment, .env, default.

    Raises SettingsError, also for a wrong line of the settings file.
    """
    sources = _sources(flags, env_file)
    problems = list(_wrong_lines(sources.file))
    try:
        settings = parse(sources.merged())
    except SettingsError as error:
        raise SettingsError([*problems, *error.problems]) from None
    if problems:
        raise SettingsError(problems)
    unknown = tuple(unknown_among(sorted(os.environ), _all_variables()))
    return replace(settings, unknown=unknown, exported=sources.exported())


def changed_variables(before: Settings, after: Settings) -> tuple[str, ...]:
    """The variables of the settings that differ, in the order of their fields, then those for foreign adapters."""
    pairs = ((before.supervisor, after.supervisor), (before.worker, after.worker))
    fields = tuple(
        _variable(name, info)
        for old, new in pairs
        for name, info in type(old).model_fields.items()
        if getattr(old, name) != getattr(new, name)
    )
    foreign = (before.exported.keys() | after.exported.keys()) - set(_all_variables())
    return (*fields, *sorted(name for name in foreign if before.exported.get(name) != after.exported.get(name)))


def has_secret(env_file: Path) -> bool:
    """Report whether the settings file, which has been read before, contains a secret."""
    given = read_env_file(env_file).values
    return any(
        given.get(name) for setting, info in _fields() if info.annotation is SecretStr for name in _variables(setting, info)
    )


def read_runtime_path(env_file: Path | None = None) -> Path:
    """The directory of the control sockets, also if other settings are wrong. Raises SettingsError."""
    given = _sources({}, env_file).merged().get("RUNTIME_DIRECTORY") or ""
    return SupervisorSettings.model_construct(runtime_directory=given).runtime_path


def parse(values: Mapping[str, str | None]) -> Settings:
    """Settings from a mapping of variables. Raises SettingsError."""
    problems: list[Problem] = []
    supervisor = _validated(SupervisorSettings, values, problems)
    worker = _validated(WorkerSettings, values, problems)
    if supervisor is not None and worker is not None:
        problems.extend(_contradictions(supervisor, worker))
        problems.extend(_missing_authority(worker, values))
    if problems or supervisor is None or worker is None:
        raise SettingsError(problems)
    return Settings(supervisor, worker, login_variable=_login_variable(values))


def _login_variable(values: Mapping[str, str | None]) -> str:
    """The variable of the address, else that of the password among its parts."""
    name = "learning_database_url"
    variables = [*_variables(name, WorkerSettings.model_fields[name]), "LEARNING_WORKER_DB_PASSWORD"]
    return next((variable for variable in variables if values.get(variable)), "")


def _contradictions(supervisor: SupervisorSettings, worker: WorkerSettings) -> Iterator[Problem]:
    """Problems between two settings, each valid alone."""
    limit, low_water = MemorySize.parse(supervisor.ollama_memory_limit), MemorySize.parse(supervisor.ollama_memory_low_water)
    if limit.share and not worker.is_ollama_here:
        remedy = "give bytes, such as 8G: the memory of the host in OLLAMA_BASE_URL is not known here"
        yield Problem("OLLAMA_MEMORY_LIMIT", supervisor.ollama_memory_limit, remedy)
    is_never_below = low_water == MemorySize() and limit != MemorySize()  # Ollama holds some memory without a model, too
    if is_never_below or low_water.share == 1 or 0 < limit.size_bytes <= low_water.size_bytes:
        remedy = "give less than OLLAMA_MEMORY_LIMIT, and more than nothing"
        yield Problem("OLLAMA_MEMORY_LOW_WATER", supervisor.ollama_memory_low_water, remedy)


def _missing_authority(worker: WorkerSettings, values: Mapping[str, str | None]) -> Iterator[Problem]:
    if path := missing_authority_of(worker.learning_database_url.get_secret_value(), values):
        remedy = f"the root certificate {path} cannot be read: correct sslrootcert (PGSSLROOTCERT) or the rights of the file"
        yield Problem("LEARNING_DATABASE_URL", "***", remedy)


def all_settings() -> Iterator[Setting]:
    """Every setting in the order of its field, for the generated documentation."""
    for name, info in _fields():
        default = "" if info.is_required() or info.default is None else _plain(info.default)
        yield Setting(_variable(name, info), default, _bound(info), info.description or "", info.annotation is SecretStr)


@dataclass(frozen=True, slots=True)
class _Sources:
    """The settings file, and the sources above it in ascending precedence."""

    file: EnvFile
    environment: Mapping[str, str]
    credentials: Mapping[str, str]
    flags: Mapping[str, str]

    def merged(self) -> dict[str, str | None]:
        """Each variable from its strongest source. Blanks around a value have no meaning."""
        sources = self.file.values, self.environment, self.credentials, self.flags
        given = (pair for source in sources for pair in source.items())
        return {name: value.strip() for name, value in given if value and value.strip()}

    def exported(self) -> dict[str, str]:
        """The variables that an adapter finds in the environment only if a worker puts them there."""
        given = {name: value for name, value in self.file.values.items() if value and not self.environment.get(name)}
        return {**given, **self.credentials}


def _sources(flags: Mapping[str, str], env_file: Path | None) -> _Sources:
    given, directory = dict(os.environ), os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        secrets = credentials(Path(directory), _all_variables()) if directory else {}
        return _Sources(read_env_file(env_file), given, secrets, flags)
    except Unreadable as file:
        raise SettingsError([Problem(file.variable, str(file.path), f"cannot be read: {file.reason}")]) from None


def _wrong_lines(file: EnvFile) -> Iterator[Problem]:
    """Lines of the settings file without effect: no assignment, a name that is no setting, a name that comes again."""
    for line in file.wrong_lines:
        remedy = "is no assignment: write NAME=value, with both quotes or none, or # before a comment"
        yield Problem(f"line {line} of {file.path}", None, remedy)
    for each in unknown_among(file.lines, _all_variables()):
        yield Problem(each.name, None, f"{each.remedy} (line {file.lines[each.name][0]} of {file.path})")
    for name in _all_variables():
        if len(lines := file.lines.get(name, [])) > 1:
            numbers = ", ".join(map(str, lines))
            yield Problem(name, None, f"is set {len(lines)} times, in lines {numbers} of {file.path}: keep one of them")


def _validated(model: type[Model], values: Mapping[str, str | None], problems: list[Problem]) -> Model | None:
    named = {}
    for name, info in model.model_fields.items():
        given = values.get(_given_variable(name, info, values))
        if given:
            named[_variable(name, info) if info.validation_alias else name] = _as_written(given, info)
    try:
        return model.model_validate(named)
    except ValidationError as error:
        problems.extend(_problem(model, dict(e), values) for e in error.errors())
        return None


def _as_written(value: str, info: FieldInfo) -> str:
    """The choice that the value is, in any case of its letters. Other values stay."""
    return next((choice for choice in _choices(info) if choice.lower() == _word(value, info)), value)


def _word(value: str, info: FieldInfo) -> str:
    """The value in lower case, with the words for true and false as one, where these are choices."""
    word = value.lower()
    return _TRUTHS.get(word, word) if "true" in _choices(info) else word


def _problem(model: type[BaseModel], error: dict[str, Any], values: Mapping[str, str | None]) -> Problem:
    loc = str(error["loc"][0])
    name, info = next((name, info) for name, info in model.model_fields.items() if loc in {name, *_variables(name, info)})
    variable, bound = _given_variable(name, info, values), in_words(_bound(info))
    value = values.get(variable) or ""
    remedy = remedy_for(error["type"], error["msg"].removeprefix("Value error, "), value, _choices(info))
    allowed = f" (allowed: {bound})" if bound else ""
    shown_value = shown(value, _secrets(values), is_secret=info.annotation is SecretStr)
    meaning = "" if error["type"] == OWN_MESSAGE else f": {info.description}"  # our own message is complete
    return Problem(variable, shown_value, f"{remedy}{allowed}{meaning}")


def _secrets(values: Mapping[str, str | None]) -> list[str]:
    """The secrets of all variables, which may stand in a wrong one by mistake."""
    named = [
        values.get(variable) or ""
        for name, info in _fields()
        if info.annotation is SecretStr
        for variable in _variables(name, info)
    ]
    return [secret for value in named for secret in (value, password_of(value)) if secret]


def _all_variables() -> list[str]:
    return [variable for name, info in _fields() for variable in _variables(name, info)]


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    for model in (SupervisorSettings, WorkerSettings):
        yield from model.model_fields.items()


def _given_variable(name: str, info: FieldInfo, values: Mapping[str, str | None]) -> str:
    """The first of the field's variables that is set, else its main one."""
    return next((variable for variable in _variables(name, info) if values.get(variable)), _variable(name, info))


def _variables(name: str, info: FieldInfo) -> list[str]:
    alias = info.validation_alias
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [name.upper()]


def _variable(name: str, info: FieldInfo) -> str:
    """The variable of the documentation and of messages."""
    return name.upper() if name.upper() in _variables(name, info) else _variables(name, info)[0]


def _choices(info: FieldInfo) -> tuple[str, ...]:
    """The words that a setting may be. Empty for any other setting."""
    kinds = (info.annotation, *get_args(info.annotation))
    return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())


def _bound(info: FieldInfo) -> str:
    if choices := _choices(info):
        return " | ".join(choice or "(empty)" for choice in choices)
    low = next((rule.ge for rule in info.metadata if hasattr(rule, "ge")), None)
    high = next((rule.le for rule in info.metadata if hasattr(rule, "le")), None)
    return f"{low}..{high}" if low is not None else ""


def in_words(bound: str) -> str:
    """Bounds or choices as text. Commas separate the choices, because a bar would end the cell of a table."""
    return bound.replace(" | ", ", ").replace("..", " to ")


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)
