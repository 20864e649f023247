"""The settings of a worker. One field is one setting: its variable is the field's name in capitals."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from worker.amounts import FileBytes, Seconds, WholeSeconds
from worker.ollama.address import HOST_OF_CONTAINER, LOOPBACK
from worker.ollama.models import is_cloud_name, listed_name
from worker.ollama.token_budget import feedback_window, page_window, reading_window
from worker.ollama.vision_family import ANY, family_of
from worker.queue.dsn import SERVICE_ROLES, database_of, fault_of, joined, role_of

STUB = "worker.adapters.stub"
ADAPTERS = {
    "stub": (STUB, STUB),
    "local": ("worker.adapters.vision", "worker.adapters.feedback"),
}
PRODUCTION = frozenset({"prod", "production", "stage", "staging"})  # as the platform names its environments of real pupils
_PLATFORM_S_STUB = ".stub_"
_NO_LOGIN = (
    "must be set: address of the platform's PostgreSQL database, with the worker's restricted role. Or set "
    "LEARNING_WORKER_DB_PASSWORD, with LEARNING_WORKER_DB_USER, TEST_DB_HOST and TEST_DB_PORT where they differ"
)
_SERVICE_NAME = re.compile(r"[a-z][a-z0-9_-]*")  # not a digit first: a plain number is an IPv4 address too


def _is_near(url: str) -> bool:
    """True for loopback, a container's own host and a service name without a dot: pupils' work stays on this host or network."""
    host = _parts(url).hostname or ""
    return host in LOOPBACK | {HOST_OF_CONTAINER} or _SERVICE_NAME.fullmatch(host) is not None


def _near_url(url: str) -> str:
    if _parts(url).scheme not in {"http", "https"} or not _is_near(url) or not _has_plain_authority(url):
        raise ValueError("give an http URL with a loopback host or a service name without a dot, and without user and password")
    if _parts(url).path.startswith(("/v1", "/api")):
        raise ValueError("give the address of the server alone, such as http://127.0.0.1:11434, without a path")
    return url.rstrip("/")


def _store_url(url: str) -> str:
    scheme = _parts(url).scheme
    if url and (scheme not in {"http", "https"} or (scheme == "http" and not _is_near(url)) or not _has_plain_authority(url)):
        raise ValueError(
            "give an https URL without user and password. Plain http is allowed only to loopback or a name without a dot"
        )
    if _parts(url).path.startswith(("/storage", "/rest")):
        raise ValueError("give the address of the server alone, such as https://store.example, without a path")
    return url.rstrip("/")


def _parts(url: str) -> SplitResult:
    """The parts of the URL, all empty if it has none."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _has_plain_authority(url: str) -> bool:
    """True with a host and a valid port, and without user and password."""
    parts = _parts(url)
    try:
        return parts.hostname is not None and parts.username is None and parts.port != 0
    except ValueError:
        return False


def _matching(pattern: str, remedy: str) -> BeforeValidator:
    """Rejects every text that does not match."""

    def match(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(remedy)
        return text

    return BeforeValidator(match)


NearUrl = Annotated[str, BeforeValidator(_near_url)]
StoreUrl = Annotated[str, BeforeValidator(_store_url)]
ModuleName = Annotated[
    str, _matching(r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?", "give the name of a Python module, such as platform.feedback")
]
FunctionName = Annotated[
    str,
    _matching(r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)?", "give module and function, such as school.setup:configure"),
]
ModelName = Annotated[str, _matching(r"[\w.:/-]{1,500}", "give the name of the model as `ollama list` prints it")]
BucketName = Annotated[str, _matching(r"[\w-]+", "give the name of the bucket alone: letters, digits, - and _")]
AbsolutePath = Annotated[str, _matching(r"(?:/.*)?", "give the path from the root directory on, such as /srv/files")]


_ALLOWING_SERVICE_ROLES = ("allow_service_dsn_for_testing", "run_e2e", "run_supabase_e2e")  # one is enough, as on the platform


def _login_of_parts(values: Mapping[str, Any]) -> str:
    """The DSN of the platform's single variables. Without a password none is made, because a role's name is no login."""
    password: SecretStr = values.get("learning_worker_db_password", SecretStr(""))
    names = ("learning_worker_db_user", "test_db_host", "test_db_port")
    if not password.get_secret_value() or not all(name in values for name in names):
        raise ValueError(_NO_LOGIN)
    user, host, port = (values[name] for name in names)
    return joined(user, password.get_secret_value(), host, port)


def _is_production(values: Mapping[str, Any]) -> bool:
    return str(values.get("gustav_env")).lower() in PRODUCTION


class WorkerSettings(BaseModel):
    """Names, meanings and defaults are the platform's wherever it has the same setting."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    allow_service_dsn_for_testing: Annotated[
        bool, Field(description="for tests only: accept a superuser or service role in the DSN")
    ] = False
    run_e2e: Annotated[bool, Field(description="the platform's own tests are running: as ALLOW_SERVICE_DSN_FOR_TESTING")] = False
    run_supabase_e2e: Annotated[bool, Field(description="as RUN_E2E")] = False
    learning_worker_db_user: Annotated[
        str, Field(description="role of the worker, where no address of the database is set. The platform creates gustav_worker")
    ] = "gustav_worker"
    learning_worker_db_password: Annotated[
        SecretStr, Field(description="password of LEARNING_WORKER_DB_USER. Used only where no address of the database is set")
    ] = SecretStr("")
    test_db_host: Annotated[str, Field(description="host of the database, where no address of it is set")] = "127.0.0.1"
    test_db_port: Annotated[int, Field(ge=1, le=65_535, description="port of the database, where no address of it is set")] = (
        54_322
    )
    learning_database_url: Annotated[
        SecretStr,
        Field(
            validate_default=True,
            validation_alias=AliasChoices(
                "LEARNING_WORKER_DATABASE_URL",
                "LEARNING_WORKER_DB_URL",
                "LEARNING_DATABASE_URL",
                "LEARNING_DB_URL",
                "DATABASE_URL",
            ),
            description="address of the platform's PostgreSQL database, with the worker's restricted role. The first one that "
            "is set counts: LEARNING_WORKER_DATABASE_URL, LEARNING_WORKER_DB_URL, this one, LEARNING_DB_URL, DATABASE_URL, then "
            "LEARNING_WORKER_DB_USER with its password",
        ),
    ] = SecretStr("")
    database_pooled: Annotated[
        Literal["auto", "true", "false"],
        Field(description="true if a transaction pooler is in front of the database. auto: detected at each connection"),
    ] = "auto"

    gustav_env: Annotated[
        str, Field(description="environment of the platform. With prod, production, stage or staging a stub is rejected")
    ] = "dev"
    learning_vision_adapter: Annotated[
        ModuleName, Field(description="Python module of the adapter that reads pages. Empty: chosen by AI_BACKEND")
    ] = ""
    learning_feedback_adapter: Annotated[
        ModuleName, Field(description="Python module of the adapter that writes feedback. Empty: chosen by AI_BACKEND")
    ] = ""
    learning_worker_setup: Annotated[
        FunctionName,
        Field(
            description="function that prepares each worker for adapters of another package, such as school.setup:configure. "
            "It is called once, without arguments, before an adapter is built"
        ),
    ] = ""
    ai_send_pupils_work_to_cloud: Annotated[
        bool,
        Field(
            description="true: pupils' work may leave the house, to models that run elsewhere. false: such models are rejected"
        ),
    ] = False
    ai_backend: Annotated[
        Literal["stub", "local"] | None,
        Field(
            validate_default=True,
            description="models in Ollama (local), or invented results without a model, for development (stub). Must be "
            "chosen, unless both adapters are named",
        ),
    ] = None
    ai_vision_model: Annotated[ModelName, Field(description="Ollama model that reads pages")] = "qwen2.5vl:3b"
    ai_feedback_model: Annotated[ModelName, Field(description="Ollama model that writes feedback")] = "gpt-oss:latest"
    ai_timeout_vision: Annotated[
        WholeSeconds, Field(ge=1, le=300, description="longest time for reading one page, in seconds")
    ] = 30
    ai_timeout_feedback: Annotated[
        WholeSeconds, Field(ge=1, le=300, description="longest time for the feedback of one submission, in seconds")
    ] = 15
    ai_foreign_timeout_seconds: Annotated[
        Seconds,
        Field(
            ge=1,
            le=3600,
            description="longest time for one call of an adapter of another package, which may ask its model three times",
        ),
    ] = 300
    ai_think_level: Annotated[
        Literal["", "low", "medium", "high"],
        Field(description="reasoning effort of gpt-oss. Empty: low. For other models reasoning is off"),
    ] = ""
    ai_prompt_language: Annotated[Literal["de", "en"], Field(description="language of the prompts and of the feedback")] = "de"
    ai_vision_prompt: Annotated[
        Literal["auto", "sentences", "glm-ocr", "deepseek-ocr", "paddleocr-vl", "dots.ocr"],
        Field(description="prompt for pages: of a family of OCR models, or our own sentences. auto: by the model's name"),
    ] = "auto"
    ai_num_ctx: Annotated[
        int | None,
        Field(
            ge=4,
            le=1_048_576,
            description="context window of both models, in tokens. Not set: as large as a page or an essay needs",
        ),
    ] = None
    ai_num_ctx_vision: Annotated[
        int | None,
        Field(
            ge=4,
            le=1_048_576,
            description="context window of the vision model, in tokens. Not set: AI_NUM_CTX. Reading alone needs 6144",
        ),
    ] = None
    ai_num_ctx_feedback: Annotated[
        int | None,
        Field(
            validate_default=True,
            ge=4,
            le=1_048_576,
            description="context window of the feedback model, in tokens. Not set: AI_NUM_CTX",
        ),
    ] = None
    ai_num_batch: Annotated[int | None, Field(ge=1, le=65_536, description="prompt tokens that both models process at once")] = (
        None
    )
    ai_num_batch_vision: Annotated[
        int | None,
        Field(ge=1, le=65_536, description="prompt tokens that the vision model processes at once. Not set: AI_NUM_BATCH"),
    ] = None
    ai_num_batch_feedback: Annotated[
        int | None,
        Field(
            validate_default=True,
            ge=1,
            le=65_536,
            description="prompt tokens that the feedback model processes at once. Not set: AI_NUM_BATCH",
        ),
    ] = None
    ai_num_thread: Annotated[int | None, Field(ge=1, le=1024, description="CPU threads of each model's process")] = None
    ai_num_thread_vision: Annotated[
        int | None, Field(ge=1, le=1024, description="CPU threads of the vision model's process. Not set: AI_NUM_THREAD")
    ] = None
    ai_num_thread_feedback: Annotated[
        int | None,
        Field(
            validate_default=True,
            ge=1,
            le=1024,
            description="CPU threads of the feedback model's process. Not set: AI_NUM_THREAD",
        ),
    ] = None
    ai_num_gpu: Annotated[int | None, Field(ge=-1, le=1024, description="layers of both models on the GPU")] = None
    ai_num_gpu_vision: Annotated[
        int | None, Field(ge=-1, le=1024, description="layers of the vision model on the GPU. Not set: AI_NUM_GPU")
    ] = None
    ai_num_gpu_feedback: Annotated[
        int | None,
        Field(validate_default=True, ge=-1, le=1024, description="layers of the feedback model on the GPU. Not set: AI_NUM_GPU"),
    ] = None
    ollama_base_url: Annotated[
        NearUrl,
        Field(description="URL of Ollama: on loopback, at host.docker.internal or under a service name without a dot"),
    ] = "http://ollama:11434"
    ollama_num_parallel: Annotated[
        int, Field(ge=1, le=64, description="calls that each model processes at once. Must be the same as on the Ollama server")
    ] = 1

    storage_verify_root: Annotated[
        AbsolutePath, Field(description="local directory of the buckets. Empty: files come from SUPABASE_URL")
    ] = ""
    supabase_url: Annotated[StoreUrl, Field(description="base URL of the platform's object store")] = ""
    supabase_service_role_key: Annotated[SecretStr, Field(validate_default=True, description="key for the object store")] = (
        SecretStr("")
    )
    learning_storage_bucket: Annotated[BucketName, Field(description="bucket of the submissions' files")] = "submissions"
    learning_max_upload_bytes: Annotated[
        FileBytes,
        Field(
            ge=1,
            le=1_073_741_824,
            description="size limit of a submission's file, in bytes. A larger one fails as input_too_large",
        ),
    ] = 10_485_760
    read_pdf_text: Annotated[
        bool,
        Field(
            description="true: the text of a typed PDF page is taken from the file, without a call to the vision model, if it "
            "is exactly what the page shows. false: the vision model reads every page"
        ),
    ] = True
    max_pdf_pages: Annotated[
        int,
        Field(
            ge=1,
            le=200,
            description="page limit of a document, with all pieces of long pages. A longer one fails as input_too_large",
        ),
    ] = 100

    worker_skip_pytest_jobs: Annotated[
        bool, Field(description="for tests only: true leaves jobs in the queue that a test of the platform has entered")
    ] = False
    worker_test_run_id: Annotated[
        str, Field(max_length=200, description="for tests only: id of a test run. All other jobs stay in the queue")
    ] = ""
    worker_max_retries: Annotated[int, Field(ge=0, le=100, description="number of retries of a job after transient errors")] = 3
    worker_backoff_seconds: Annotated[
        Seconds, Field(ge=0, le=3600, description="wait before the first retry, in seconds. It doubles with each further retry")
    ] = 10
    worker_lease_seconds: Annotated[
        WholeSeconds,
        Field(ge=5, le=3600, description="shortest lease of a job, in seconds. Steps that need more get a longer one"),
    ] = 45
    worker_poll_interval: Annotated[
        Seconds, Field(ge=0.05, le=60, description="seconds between two polls of the queue while no notification arrives")
    ] = 0.5
    worker_max_crashes: Annotated[
        int,
        Field(ge=1, le=100, description="a job that killed this many workers is quarantined: it fails and is not tried again"),
    ] = 2
    worker_max_job_age_seconds: Annotated[
        WholeSeconds,
        Field(
            ge=0,
            le=31_536_000,
            description="a job older than this fails instead of waiting or being retried, in seconds. 0: no limit",
        ),
    ] = 0
    terminate_grace_seconds: Annotated[
        Seconds, Field(ge=0.1, le=300, description="seconds from SIGTERM to SIGKILL for a worker that exceeded its deadline")
    ] = 5

    @field_validator("learning_database_url")
    @classmethod
    def _is_no_service_dsn(cls, dsn: SecretStr, info: ValidationInfo) -> SecretStr:
        address = dsn.get_secret_value() or _login_of_parts(info.data)
        role = role_of(address)
        if fault := fault_of(address):
            raise ValueError(fault)
        if role.partition(".")[0] in SERVICE_ROLES and not any(info.data.get(name) for name in _ALLOWING_SERVICE_ROLES):
            raise ValueError(f"{role} bypasses row security: use the worker's own restricted role")
        return SecretStr(address)

    @field_validator("learning_vision_adapter", "learning_feedback_adapter")
    @classmethod
    def _is_no_stub_in_production(cls, module: str, info: ValidationInfo) -> str:
        if _is_production(info.data) and (module == STUB or _PLATFORM_S_STUB in module):
            raise ValueError(f"a stub invents its results, and GUSTAV_ENV={info.data['gustav_env']} has real pupils")
        return module

    @field_validator("ai_vision_model", "ai_feedback_model")
    @classmethod
    def _runs_here(cls, model: str, info: ValidationInfo) -> str:
        """Rejects Ollama's names of cloud models. Any other model that runs elsewhere is found by its description."""
        if is_cloud_name(model) and not info.data.get("ai_send_pupils_work_to_cloud"):
            raise ValueError(
                "it runs on servers outside of the house: take a local model, or allow it with AI_SEND_PUPILS_WORK_TO_CLOUD=true"
            )
        return model

    @field_validator("ai_backend")
    @classmethod
    def _is_chosen(cls, backend: str | None, info: ValidationInfo) -> str | None:
        """Rejects a missing backend, because neither invented feedback nor a model may come from a forgotten line."""
        are_named = info.data.get("learning_vision_adapter") and info.data.get("learning_feedback_adapter")
        if backend is None and not are_named:
            raise ValueError(
                "must be chosen: write local for real feedback by Ollama, or stub for a trial with invented feedback, or name "
                "the platform's adapters in LEARNING_VISION_ADAPTER and LEARNING_FEEDBACK_ADAPTER"
            )
        if backend == "stub" and _is_production(info.data) and not are_named:
            raise ValueError(f"a stub invents its results, and GUSTAV_ENV={info.data['gustav_env']} has real pupils: write local")
        return backend

    @field_validator("ai_num_ctx_feedback", "ai_num_batch_feedback", "ai_num_thread_feedback", "ai_num_gpu_feedback")
    @classmethod
    def _is_as_for_vision(cls, value: int | None, info: ValidationInfo) -> int | None:
        """Rejects different options for one model, because Ollama would load it again at each change of step."""
        names = [listed_name(str(info.data.get(f"ai_{step}_model", step))) for step in ("vision", "feedback")]
        option = str(info.field_name).removesuffix("_feedback")
        both, vision = info.data.get(option), info.data.get(f"{option}_vision")
        if names[0] == names[1] and (both if value is None else value) != (both if vision is None else vision):
            raise ValueError("both steps use one model, so give the option the same value for both")
        return value

    @field_validator("supabase_service_role_key")
    @classmethod
    def _is_given_with_the_store(cls, key: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("supabase_url") and not key.get_secret_value():
            raise ValueError("SUPABASE_URL is set without this key: set both or neither")
        return key

    @property
    def allows_service_role(self) -> bool:
        """True for tests alone: the role may bypass row security."""
        return any(getattr(self, name) for name in _ALLOWING_SERVICE_ROLES)

    def is_stub(self, step: Literal["vision", "feedback"]) -> bool:
        """True if the step's results are invented."""
        return self._adapter(step) == STUB

    def may_call(self, step: Literal["vision", "feedback"]) -> bool:
        """True if a call may reach the step's model. A feedback adapter judges pages by the vision model."""
        return not self.is_stub("feedback") or (step == "vision" and not self.is_stub("vision"))

    def asks_ollama(self, step: Literal["vision", "feedback"]) -> bool:
        """True if the step uses our Ollama adapter. The requests of a foreign adapter are unknown."""
        return self._adapter(step) in ADAPTERS["local"]

    def is_foreign(self, step: Literal["vision", "feedback"]) -> bool:
        """True if the step uses an adapter of another package."""
        return not self.asks_ollama(step) and not self.is_stub(step)

    def _adapter(self, step: Literal["vision", "feedback"]) -> str:
        return self.vision_adapter if step == "vision" else self.feedback_adapter

    @property
    def is_ollama_here(self) -> bool:
        """True if Ollama runs on this host. A service name belongs to another container or host."""
        return _parts(self.ollama_base_url).hostname in LOOPBACK

    @property
    def database(self) -> str:
        """A short hash of the database, the same for every role."""
        return database_of(self.learning_database_url.get_secret_value())

    @property
    def invents_something(self) -> bool:
        return self.is_stub("vision") or self.is_stub("feedback")

    @property
    def asks_a_model(self) -> bool:
        return not (self.is_stub("vision") and self.is_stub("feedback"))

    @property
    def vision_adapter(self) -> str:
        return self.learning_vision_adapter or ADAPTERS[self.ai_backend or "stub"][0]

    @property
    def feedback_adapter(self) -> str:
        return self.learning_feedback_adapter or ADAPTERS[self.ai_backend or "stub"][1]

    def model_options(self, step: Literal["vision", "feedback"]) -> dict[str, int]:
        """Ollama options of the step's model, the same for every request and for its preload.

        If two requests differ, the server loads the model again (docs/ollama-api.md 5). Two steps with one model have equal
        options. The context window is always among them, because a page or an essay does not fit into the server's default.
        """
        chosen = {"num_ctx": self._needed_window(step)}
        for name in ("num_ctx", "num_batch", "num_thread", "num_gpu"):
            value = getattr(self, f"ai_{name}_{step}")
            value = getattr(self, f"ai_{name}") if value is None else value
            if value is not None:
                chosen[name] = value
        return chosen

    @property
    def judges_pictures(self) -> bool:
        """False for a vision model that can only read, as those for text recognition."""
        return family_of(self.ai_vision_model, self.ai_vision_prompt) is ANY

    def _needed_window(self, step: Literal["vision", "feedback"]) -> int:
        """Tokens of the context window if the settings give none. A model of both steps has the larger one."""
        needed = {
            "vision": (page_window if self.judges_pictures else reading_window)(self.ai_vision_model),
            "feedback": feedback_window(self.ai_feedback_model, self.ai_think_level),
        }
        is_one_model = listed_name(self.ai_vision_model) == listed_name(self.ai_feedback_model)
        return max(needed.values()) if is_one_model else needed[step]
