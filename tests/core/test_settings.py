"""Settings: their sources, the rejected values and their messages, and the platform's defaults."""

import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from supervisor.core.policy import Policy
from supervisor.settings.model import Setting, Settings, all_settings, parse
from supervisor.settings.policy import policy_of
from supervisor.settings.problems import SettingsError
from worker.ollama.address import server_name

ROOT = Path(__file__).parents[2]
PASSWORD = "dont-tell"
DSN = f"postgresql://worker:{PASSWORD}@db/platform"
GIVEN: dict[str, str | None] = {"LEARNING_DATABASE_URL": DSN, "AI_BACKEND": "stub"}  # without these two nothing starts
SETTINGS = list(all_settings())

READ = """
import json, sys
from pathlib import Path
from supervisor.settings.model import read_settings
flags, env_file = json.loads(sys.argv[1])
print(read_settings(flags, Path(env_file) if env_file else None).worker.model_dump_json())
"""


def parsed(**values: str) -> Settings:
    return parse({**GIVEN, **values})


def refused(values: dict[str, str | None]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        parse(values)
    return caught.value


def value_of(settings: Settings, variable: str) -> object:
    name = variable.lower()
    return getattr(settings.supervisor if name in type(settings.supervisor).model_fields else settings.worker, name)


@dataclass(frozen=True)
class Rung:
    """One variable, set in some of the sources."""

    variable: str
    expected: int | None
    flag: str | None = None
    credentials: str | None = None
    environment: str | None = None
    env_file: str | None = None


LADDER = {
    "set nowhere": Rung("AI_NUM_CTX", None),
    ".env": Rung("AI_NUM_CTX_VISION", 8, env_file="8"),
    "environment over .env": Rung("AI_NUM_CTX_FEEDBACK", 7, environment="7", env_file="8"),
    "credentials over environment": Rung("AI_NUM_BATCH", 6, credentials="6\n", environment="7", env_file="8"),
    "flag over credentials": Rung("AI_NUM_BATCH_VISION", 5, flag="5", credentials="6", environment="7", env_file="8"),
    "flag over .env": Rung("AI_NUM_BATCH_FEEDBACK", 5, flag="5", env_file="8"),
    "empty flag": Rung("AI_NUM_THREAD", 6, flag="", credentials="6"),
    "empty credentials": Rung("AI_NUM_THREAD_VISION", 7, credentials="\n", environment="7"),
    "empty environment": Rung("AI_NUM_THREAD_FEEDBACK", 8, environment="", env_file="8"),
    "empty everywhere": Rung("AI_NUM_GPU", None, flag="", credentials="", environment="", env_file=""),
}


def given(source: str) -> dict[str, str]:
    return {rung.variable: value for rung in LADDER.values() if (value := getattr(rung, source)) is not None}


def read_in_a_process(
    directory: Path, environment: dict[str, str], flags: dict[str, str], env_file: str = ""
) -> dict[str, object]:
    """The result of `read_settings` in a process with this directory and only this environment."""
    command = [sys.executable, "-c", READ, json.dumps([flags, env_file])]
    variables = {"PYTHONPATH": str(ROOT), "LEARNING_DATABASE_URL": DSN, "AI_BACKEND": "stub", **environment}
    output = subprocess.run(command, cwd=directory, env=variables, capture_output=True, check=True, timeout=60).stdout
    values: dict[str, object] = json.loads(output)
    return values


def env_text(values: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """All rungs, read by one process."""
    directory = tmp_path_factory.mktemp("settings")
    (directory / ".env").write_text(env_text(given("env_file")))
    credentials = directory / "credentials"
    (credentials / "a directory").mkdir(parents=True)
    for name, value in given("credentials").items():
        (credentials / name).write_text(value)
    return read_in_a_process(directory, {"CREDENTIALS_DIRECTORY": str(credentials), **given("environment")}, given("flag"))


@pytest.mark.parametrize("rung", LADDER.values(), ids=LADDER.keys())
def test_sources_have_a_fixed_precedence(read: dict[str, object], rung: Rung) -> None:
    """The first non-empty value of flag, credentials file, environment, .env and default."""
    assert read[rung.variable.lower()] == rung.expected


def test_another_env_file(tmp_path: Path) -> None:
    """A named file replaces .env, and a missing credentials directory counts as empty."""
    (tmp_path / ".env").write_text("AI_NUM_CTX=8\nAI_NUM_GPU=8\n")
    (tmp_path / "other.env").write_text("AI_NUM_CTX='9'\n")
    values = read_in_a_process(tmp_path, {"CREDENTIALS_DIRECTORY": "/nonexistent"}, {}, "other.env")
    assert (values["ai_num_ctx"], values["ai_num_gpu"]) == (9, None)


PLATFORM_DEFAULTS = {
    "ALLOW_SERVICE_DSN_FOR_TESTING": False,
    "AI_VISION_MODEL": "qwen2.5vl:3b",
    "AI_FEEDBACK_MODEL": "gpt-oss:latest",
    "AI_TIMEOUT_VISION": 30,
    "AI_TIMEOUT_FEEDBACK": 15,
    "AI_THINK_LEVEL": "",
    "OLLAMA_BASE_URL": "http://ollama:11434",
    "WORKER_CONCURRENCY": 1,
    "WORKER_MAX_RETRIES": 3,
    "WORKER_BACKOFF_SECONDS": 10,
    "WORKER_LEASE_SECONDS": 45,
    "WORKER_POLL_INTERVAL": 0.5,
    "WORKER_MAX_CRASHES": 2,
    "WORKER_MAX_JOB_AGE_SECONDS": 0,
    "LOG_LEVEL": "INFO",
    "LEARNING_STORAGE_BUCKET": "submissions",
    "LEARNING_MAX_UPLOAD_BYTES": 10 * 1024 * 1024,
    "MAX_PDF_PAGES": 100,
    "GUSTAV_ENV": "dev",
    "RUN_E2E": False,
    "LEARNING_WORKER_DB_USER": "gustav_worker",
    "TEST_DB_HOST": "127.0.0.1",
    "TEST_DB_PORT": 54_322,
    "STORAGE_VERIFY_ROOT": "",
    "SUPABASE_URL": "",
}


@pytest.mark.parametrize(("variable", "default"), PLATFORM_DEFAULTS.items(), ids=PLATFORM_DEFAULTS.keys())
def test_platform_defaults(variable: str, default: object) -> None:
    """With only a DSN and a backend, every setting of the platform has its usual value, whether unset or empty."""
    assert value_of(parsed(), variable) == default
    assert value_of(parsed(**{variable: ""}), variable) == default


def test_the_policy_defaults_are_the_settings_defaults() -> None:
    """The policy's own defaults equal the documented ones."""
    assert policy_of(parsed()) == Policy()


BOUNDED = {setting.variable: setting for setting in SETTINGS if ".." in setting.bound}
CONTRACT_BOUNDS = {"AI_TIMEOUT_VISION": "1..300", "AI_TIMEOUT_FEEDBACK": "1..300", "WORKER_CONCURRENCY": "1..64"}


@pytest.mark.parametrize(("variable", "bound"), CONTRACT_BOUNDS.items(), ids=CONTRACT_BOUNDS.keys())
def test_contract_bounds(variable: str, bound: str) -> None:
    """The bounds equal those of the platform."""
    assert BOUNDED[variable].bound == bound


@pytest.mark.parametrize("setting", BOUNDED.values(), ids=BOUNDED.keys())
def test_bounds(setting: Setting) -> None:
    """A number is accepted at both ends of its bound. Beyond them it is rejected with name, value, bound and remedy."""
    low, high = setting.bound.split("..")
    unit = "B" if setting.variable.endswith("_BYTES") else ""  # a small number of bytes needs it
    for edge in (low, high):
        assert value_of(parsed(**{setting.variable: edge + unit}), setting.variable) == float(edge)
    for beyond in (str(float(low) - 1).removesuffix(".0"), str(int(high) + 1), "nan", "much"):
        (problem,) = refused({**GIVEN, setting.variable: beyond}).problems
        assert str(problem).startswith(f"{setting.variable}={beyond}: ")
        assert problem.remedy.endswith((f"(allowed: {low} to {high})", f"(allowed: {low} to {high}): {setting.help}"))


CHOICES = {
    "backend": ("AI_BACKEND", "cloud", "allowed: stub, local"),
    "think level": ("AI_THINK_LEVEL", "deep", "allowed: (empty), low, medium, high"),
    "log level": ("LOG_LEVEL", "LOUD", "allowed: DEBUG, INFO, WARNING, ERROR"),
    "adapter module": ("LEARNING_VISION_ADAPTER", "os;rm", "name of a Python module"),
    "bucket": ("LEARNING_STORAGE_BUCKET", "../etc", "name of the bucket"),
    "public status page": ("STATUS_ADDR", "0.0.0.0:80", "loopback"),
    "boolean": ("ALLOW_SERVICE_DSN_FOR_TESTING", "perhaps", "true or false"),
}


@pytest.mark.parametrize(("variable", "value", "remedy"), CHOICES.values(), ids=CHOICES.keys())
def test_choices(variable: str, value: str, remedy: str) -> None:
    """Any other value is rejected with name, value and remedy."""
    (problem,) = refused({**GIVEN, variable: value}).problems
    assert (problem.variable, problem.shown_value) == (variable, value)
    assert remedy in problem.remedy


def test_all_problems_at_once() -> None:
    """One reading lists every wrong and every missing setting of supervisor and worker, one per line."""
    wrong = {"WORKER_CONCURRENCY": "65", "LOG_LEVEL": "LOUD", "AI_TIMEOUT_VISION": "0", "OLLAMA_BASE_URL": "http://8.8.8.8"}
    error = refused({**wrong, "SUPABASE_URL": "https://store.example"})
    missing = {"LEARNING_DATABASE_URL", "AI_BACKEND", "SUPABASE_SERVICE_ROLE_KEY"}
    assert {problem.variable for problem in error.problems} == set(wrong) | missing
    assert len(str(error).splitlines()) == len(wrong) + len(missing)
    assert "LEARNING_DATABASE_URL=(unset): " in str(error)


def test_a_long_value_is_cut() -> None:
    """A whole file pasted into a variable does not fill the log."""
    (problem,) = refused({**GIVEN, "AI_BACKEND": "x" * 10_000}).problems
    assert problem.shown_value == "x" * 60


SECRETS: dict[str, dict[str, str | None]] = {
    "service role": {"LEARNING_DATABASE_URL": f"postgresql://postgres:{PASSWORD}@db/platform"},
    "service role as words": {"LEARNING_DATABASE_URL": f"host=db user=postgres password={PASSWORD}"},
    "no DSN at all": {"LEARNING_DATABASE_URL": PASSWORD},
    "malformed URL": {"LEARNING_DATABASE_URL": f"postgresql://worker:{PASSWORD}@[db/platform"},
    "unknown option": {"DATABASE_URL": f"host=db secret={PASSWORD}"},
    "unclosed quote": {"LEARNING_DB_URL": f"host=db password='{PASSWORD}"},
    "key beside a bad store": {
        "LEARNING_DATABASE_URL": DSN,
        "SUPABASE_URL": "http://store.example",
        "SUPABASE_SERVICE_ROLE_KEY": PASSWORD,
    },
}


@pytest.mark.parametrize("values", SECRETS.values(), ids=SECRETS.keys())
def test_no_secret_in_an_error(values: dict[str, str | None]) -> None:
    """Neither the message nor the traceback contains a password or a key."""
    error = refused(values)
    assert PASSWORD not in "".join((str(error), repr(error.problems), *traceback.format_exception(error)))


def test_accepted_settings_show_no_secret() -> None:
    """Settings that are logged or printed keep their secrets."""
    settings = parsed(SUPABASE_URL="https://store.example", SUPABASE_SERVICE_ROLE_KEY=PASSWORD)
    assert PASSWORD not in repr(settings) + settings.worker.model_dump_json()
    assert {setting.variable for setting in SETTINGS if setting.is_secret} == {
        "LEARNING_DATABASE_URL",
        "LEARNING_WORKER_DB_PASSWORD",
        "SUPABASE_SERVICE_ROLE_KEY",
    }


DSN_NAMES = (
    "LEARNING_WORKER_DATABASE_URL",
    "LEARNING_WORKER_DB_URL",
    "LEARNING_DATABASE_URL",
    "LEARNING_DB_URL",
    "DATABASE_URL",
)


@pytest.mark.parametrize("place", range(len(DSN_NAMES)), ids=DSN_NAMES)
def test_a_dsn_is_read_from_the_first_variable_that_is_set(place: int) -> None:
    """The DSN is the first non-empty one of its names. The platform's single variables count last."""
    values = {"AI_BACKEND": "stub", "LEARNING_WORKER_DB_PASSWORD": "of-the-parts"}
    values |= {name: f"postgresql://worker@host{number}/db" for number, name in enumerate(DSN_NAMES)}
    values.update(dict.fromkeys(DSN_NAMES[:place], ""))
    settings = parse(values)
    assert settings.worker.learning_database_url.get_secret_value() == f"postgresql://worker@host{place}/db"
    assert settings.login_variable == DSN_NAMES[place]


PARTS = {
    "the password alone": ({}, "gustav_worker", "127.0.0.1", "54322"),
    "all": (
        {"LEARNING_WORKER_DB_USER": "another", "TEST_DB_HOST": "db", "TEST_DB_PORT": "5432"},
        "another",
        "db",
        "5432",
    ),
}


@pytest.mark.parametrize(("given", "user", "host", "port"), PARTS.values(), ids=PARTS.keys())
def test_a_dsn_of_parts(given: dict[str, str], user: str, host: str, port: str) -> None:
    """Without an address the login is made of the platform's single variables, with any character in the password."""
    password = "p@ss/w:o?r%d 'x\\"
    settings = parse({"AI_BACKEND": "stub", "LEARNING_WORKER_DB_PASSWORD": password, **given})
    parts = conninfo_to_dict(settings.worker.learning_database_url.get_secret_value())
    assert settings.login_variable == "LEARNING_WORKER_DB_PASSWORD"
    assert parts == {"user": user, "password": password, "host": host, "port": port, "dbname": "postgres"}


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("warn", "WARNING"),
        ("Warning", "WARNING"),
        ("critical", "ERROR"),
        ("FATAL", "ERROR"),
        ("notset", "DEBUG"),
        ("error", "ERROR"),
    ],
)
def test_the_levels_of_python_are_known(word: str, level: str) -> None:
    """A level that the platform's worker accepts is no error, in any case of its letters."""
    assert parse({**GIVEN, "LOG_LEVEL": word}).supervisor.log_level == level


def test_parts_without_a_password_are_no_login() -> None:
    """A host and a role that are set for other programs start nothing, and the message names both ways."""
    (problem,) = refused({"AI_BACKEND": "stub", "TEST_DB_HOST": "db", "LEARNING_WORKER_DB_USER": "gustav_worker"}).problems
    assert (problem.variable, problem.shown_value) == ("LEARNING_DATABASE_URL", "(unset)")
    assert "must be set" in problem.remedy
    assert "LEARNING_WORKER_DB_PASSWORD" in problem.remedy


def test_a_service_role_of_parts_is_rejected_too() -> None:
    """The role is judged however the DSN was made, and no part of the password is shown."""
    error = refused({"AI_BACKEND": "stub", "LEARNING_WORKER_DB_USER": "postgres", "LEARNING_WORKER_DB_PASSWORD": PASSWORD})
    assert [problem.remedy.startswith("postgres bypasses row security") for problem in error.problems] == [True]
    assert PASSWORD not in str(error)


ROLES = {
    "postgres": ("postgresql://postgres:x@db/platform", "postgres"),
    "service_role": ("postgresql://service_role:x@db/platform", "service_role"),
    "supabase_admin": ("postgresql://supabase_admin:x@db/platform", "supabase_admin"),
    "as words": ("host=db user=postgres dbname=platform", "postgres"),
    "in the query": ("postgresql://db/platform?user=postgres", "postgres"),
    "percent-encoded": ("postgresql://%70ostgres@db/platform", "postgres"),
}


@pytest.mark.parametrize(("dsn", "role"), ROLES.values(), ids=ROLES.keys())
def test_service_roles(dsn: str, role: str) -> None:
    """A role that bypasses row security is rejected by name in every form of DSN, except if a test allows it."""
    (problem,) = refused({**GIVEN, "LEARNING_DATABASE_URL": dsn}).problems
    assert problem.remedy.startswith(f"{role} bypasses row security")
    for variable in ("ALLOW_SERVICE_DSN_FOR_TESTING", "RUN_E2E", "RUN_SUPABASE_E2E"):
        allowed = parsed(LEARNING_DATABASE_URL=dsn, **{variable: "true"}).worker
        assert (allowed.learning_database_url.get_secret_value(), allowed.allows_service_role) == (dsn, True)


PAGE, ESSAY = {"num_ctx": 12_288}, {"num_ctx": 17_408}  # of the default models, gpt-oss thinks
OPTIONS: dict[str, tuple[dict[str, str], dict[str, int], dict[str, int]]] = {
    "none": ({}, PAGE, ESSAY),
    "both models": (
        {"AI_NUM_CTX": "8192", "AI_NUM_BATCH": "64"},
        {"num_ctx": 8192, "num_batch": 64},
        {"num_ctx": 8192, "num_batch": 64},
    ),
    "vision alone": ({"AI_NUM_THREAD_VISION": "4"}, {**PAGE, "num_thread": 4}, ESSAY),
    "feedback alone": ({"AI_NUM_THREAD_FEEDBACK": "4"}, PAGE, {**ESSAY, "num_thread": 4}),
    "one differs": ({"AI_NUM_CTX": "8192", "AI_NUM_CTX_VISION": "4096"}, {"num_ctx": 4096}, {"num_ctx": 8192}),
    "nought is a value": ({"AI_NUM_GPU": "99", "AI_NUM_GPU_FEEDBACK": "0"}, {**PAGE, "num_gpu": 99}, {**ESSAY, "num_gpu": 0}),
    "all layers": ({"AI_NUM_GPU": "-1"}, {**PAGE, "num_gpu": -1}, {**ESSAY, "num_gpu": -1}),
    "one window": ({"AI_NUM_CTX_VISION": "4096"}, {"num_ctx": 4096}, ESSAY),
    "more thought": ({"AI_THINK_LEVEL": "high"}, PAGE, {"num_ctx": 28_672}),
    "no thought": ({"AI_FEEDBACK_MODEL": "mistral"}, PAGE, {"num_ctx": 16_384}),
    "a picture of fixed size": ({"AI_VISION_MODEL": "gemma3:4b"}, {"num_ctx": 9216}, ESSAY),
    "a model that only reads": ({"AI_VISION_MODEL": "glm-ocr:latest"}, {"num_ctx": 6144}, ESSAY),
    "a prompt that only reads": ({"AI_VISION_PROMPT": "glm-ocr"}, {"num_ctx": 6144}, ESSAY),
    "a smaller one where pages are only read": ({"AI_NUM_CTX_VISION": "6144"}, {"num_ctx": 6144}, ESSAY),
    "one model": ({"AI_VISION_MODEL": "gemma3", "AI_FEEDBACK_MODEL": "gemma3:latest"}, {"num_ctx": 16_384}, {"num_ctx": 16_384}),
}


@pytest.mark.parametrize(("values", "vision", "feedback"), OPTIONS.values(), ids=OPTIONS.keys())
def test_model_options(values: dict[str, str], vision: dict[str, int], feedback: dict[str, int]) -> None:
    """The model's own option wins over the common one. An unset one is not sent, but a window always is."""
    worker = parsed(**values).worker
    assert (worker.model_options("vision"), worker.model_options("feedback")) == (vision, feedback)


@pytest.mark.parametrize("variable", ["AI_VISION_MODEL", "AI_FEEDBACK_MODEL"])
@pytest.mark.parametrize("model", ["gpt-oss:120b-cloud", "glm-4.6:cloud", "someone/qwen3-coder:480b-cloud", "gpt-oss:120b-Cloud"])
def test_a_model_of_a_cloud_is_rejected(variable: str, model: str) -> None:
    """Its name is enough, unless the setting says that pupils' work may leave the house."""
    (problem,) = refused({**GIVEN, variable: model}).problems
    assert (problem.variable, "outside of the house" in problem.remedy) == (variable, True)
    assert parsed(**{variable: model, "AI_SEND_PUPILS_WORK_TO_CLOUD": "true"})
    assert parsed(**{variable: "cloud-watcher:latest"})


ONE_MODEL = {"AI_VISION_MODEL": "gemma3", "AI_FEEDBACK_MODEL": "gemma3:latest"}
UNEQUAL = {
    "feedback's own": {"AI_NUM_CTX_FEEDBACK": "4096"},
    "vision's own": {"AI_NUM_CTX": "8192", "AI_NUM_CTX_VISION": "4096"},
    "one each": {"AI_NUM_CTX_FEEDBACK": "4096", "AI_NUM_CTX_VISION": "8192"},
}


@pytest.mark.parametrize("values", UNEQUAL.values(), ids=UNEQUAL.keys())
def test_one_model_has_one_set_of_options(values: dict[str, str]) -> None:
    """Different options for one model of both steps are rejected. Two models may differ."""
    (problem,) = refused({**GIVEN, **ONE_MODEL, **values}).problems
    assert (problem.variable, problem.remedy.split(",")[0]) == ("AI_NUM_CTX_FEEDBACK", "both steps use one model")
    assert parsed(**values)
    worker = parsed(**ONE_MODEL, AI_NUM_CTX_VISION="4096", AI_NUM_CTX_FEEDBACK="4096").worker
    assert worker.model_options("vision") == worker.model_options("feedback") == {"num_ctx": 4096}


NEAR = [
    "http://127.0.0.1:11434",
    "http://localhost",
    "http://[::1]:11434",
    "http://ollama:11434",
    "http://host.docker.internal:11434",
    "https://ollama",
    "HTTP://OLLAMA",
]
FAR = [
    "http://ollama.example",
    "http://10.0.0.7:11434",
    "http://[2001:db8::1]",
    "http://localhost.",
    "http://localhost@ollama.example",
    "http://",
    "http://[::1",
    "ollama:11434",
    "ftp://ollama",
    "file:///ollama",
]


@pytest.mark.parametrize("url", NEAR)
def test_a_local_ollama_address_is_accepted(url: str) -> None:
    """Loopback or a service name without a dot is accepted, and its last slash removed."""
    assert parsed(OLLAMA_BASE_URL=f"{url}/").worker.ollama_base_url == url


def test_the_host_of_a_container_is_one_server_for_all_its_containers() -> None:
    """Its permits are shared on one host and not with another host, although the URL is the same on both."""
    name = server_name("http://host.docker.internal:11434")
    assert "docker" not in name
    assert name.endswith("host port 11434")
    assert name != server_name("http://127.0.0.1:11434")


@pytest.mark.parametrize("url", FAR)
def test_a_remote_ollama_address_is_rejected(url: str) -> None:
    """Any other host is rejected, so that a pupil's work does not leave the machine."""
    (problem,) = refused({**GIVEN, "OLLAMA_BASE_URL": url}).problems
    shown_value = "***" if "@" in url else url  # the part before an @ may be a password
    assert (problem.variable, problem.shown_value) == ("OLLAMA_BASE_URL", shown_value)


STORES = {
    "https anywhere": ("https://store.example/", True),
    "http to a service name": ("http://kong:8000", True),
    "http to loopback": ("http://127.0.0.1:54321", True),
    "http to the container's host": ("http://host.docker.internal:54321", True),
    "http to a name that only begins so": ("http://host.docker.internal.example", False),
    "http to a far host": ("http://store.example", False),
    "another scheme": ("ftp://store", False),
    "no scheme": ("store.example", False),
}


@pytest.mark.parametrize(("url", "is_accepted"), STORES.values(), ids=STORES.keys())
def test_the_object_store(url: str, *, is_accepted: bool) -> None:
    """A remote store needs https. Plain http is accepted for loopback or a service name without a dot."""
    values: dict[str, str | None] = {**GIVEN, "SUPABASE_URL": url, "SUPABASE_SERVICE_ROLE_KEY": "key"}
    if is_accepted:
        assert parse(values).worker.supabase_url == url.rstrip("/")
    else:
        assert [problem.variable for problem in refused(values).problems] == ["SUPABASE_URL"]


ADAPTERS = {
    "stub": ({"AI_BACKEND": "stub"}, "worker.adapters.stub", "worker.adapters.stub"),
    "local": ({"AI_BACKEND": "local"}, "worker.adapters.vision", "worker.adapters.feedback"),
    "one named": (
        {"AI_BACKEND": "local", "LEARNING_VISION_ADAPTER": "platform.ocr"},
        "platform.ocr",
        "worker.adapters.feedback",
    ),
    "the other named": ({"LEARNING_FEEDBACK_ADAPTER": "platform.feedback"}, "worker.adapters.stub", "platform.feedback"),
}


@pytest.mark.parametrize(("values", "vision", "feedback"), ADAPTERS.values(), ids=ADAPTERS.keys())
def test_adapters(values: dict[str, str], vision: str, feedback: str) -> None:
    """The named module, else that of the backend."""
    worker = parsed(**values).worker
    assert (worker.vision_adapter, worker.feedback_adapter) == (vision, feedback)


STUBS = {
    "of the backend": {"AI_BACKEND": "stub"},
    "of one step": {"AI_BACKEND": "stub", "LEARNING_VISION_ADAPTER": "platform.ocr"},
    "by its name": {"AI_BACKEND": "local", "LEARNING_FEEDBACK_ADAPTER": "worker.adapters.stub"},
    "the platform's": {"AI_BACKEND": "local", "LEARNING_FEEDBACK_ADAPTER": "backend.learning.adapters.stub_feedback"},
}


@pytest.mark.parametrize("values", STUBS.values(), ids=STUBS.keys())
@pytest.mark.parametrize("environment", ["prod", "production", "Stage", "STAGING"])
def test_real_pupils_get_no_invented_feedback(environment: str, values: dict[str, str | None]) -> None:
    """With the platform's word for such an environment a stub is rejected. Without it a stub is a trial."""
    (problem,) = refused({"LEARNING_DATABASE_URL": DSN, "GUSTAV_ENV": environment, **values}).problems
    assert problem.variable in values
    assert "a stub invents its results" in problem.remedy
    assert parse({"LEARNING_DATABASE_URL": DSN, "GUSTAV_ENV": "dev", **values})
    assert parsed(AI_BACKEND="local", GUSTAV_ENV=environment)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_every_setting_is_documented(setting: Setting) -> None:
    """Each setting has a help. Its documented default is accepted and changes nothing."""
    assert setting.help
    shown = {setting.variable: setting.default} if setting.default else {}
    assert value_of(parsed(**shown), setting.variable) == value_of(parsed(), setting.variable)


def test_no_variable_twice() -> None:
    """No two settings share a variable."""
    assert len({setting.variable for setting in SETTINGS}) == len(SETTINGS)


def test_one_runtime_directory_for_each_user() -> None:
    """By default, two users of one host have different directories."""
    assert str(os.getuid()) in parsed().supervisor.runtime_path.name
    assert parsed(RUNTIME_DIRECTORY="/run/learning").supervisor.runtime_path == Path("/run/learning")
