"""Mistakes in the settings: each is an error in plain words that shows no part of a secret."""

import re
from pathlib import Path

import pytest

from supervisor.settings.model import Setting, Settings, all_settings, parse, read_settings
from supervisor.settings.problems import Problem, SettingsError
from supervisor.settings.unknown import unknown_among
from worker.amounts import bytes_in, seconds_in

ROOT = Path(__file__).parents[2]
PASSWORD = "Wald7haus"
DSN = f"postgresql://worker:{PASSWORD}@db/platform"
GIVEN = {"LEARNING_DATABASE_URL": DSN, "AI_BACKEND": "stub"}
SETTINGS = {setting.variable: setting for setting in all_settings()}
JARGON = re.compile(
    r"input should|valid (integer|number|string|boolean|url)|pars(e|ing)|string|pattern|\^|literal|ipv6|value error", re.I
)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of the process, with only the two settings that nothing starts without."""
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def problems_of(text: str | bytes) -> list[str]:
    """The problems of a settings file with this content, in the current directory."""
    Path(".env").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        read_settings({})
    return [str(problem) for problem in caught.value.problems]


def refused(**values: str) -> Problem:
    """The only problem of these settings."""
    with pytest.raises(SettingsError) as caught:
        parse({**GIVEN, **values})
    (problem,) = caught.value.problems
    return problem


def parsed(**values: str) -> Settings:
    return parse({**GIVEN, **values})


# names

MISSPELLED = {
    "a letter too few": ("WORKER_CONCURENCY=4", "WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
    "a letter left out": ("AI_BACKED=local", "AI_BACKED", "AI_BACKEND"),
    "another order": ("AI_VISION_TIMEOUT=60", "AI_VISION_TIMEOUT", "AI_TIMEOUT_VISION"),
    "lower case": ("ai_backend=local", "ai_backend", "AI_BACKEND"),
    "without a prefix of ours": ("SUPBASE_URL=https://store.example", "SUPBASE_URL", "SUPABASE_URL"),
    "without an underscore": ("LOGLEVEL=DEBUG", "LOGLEVEL", "LOG_LEVEL"),
}


@pytest.mark.parametrize(("line", "name", "meant"), MISSPELLED.values(), ids=MISSPELLED.keys())
@pytest.mark.usefixtures("directory")
def test_a_misspelled_name_in_the_file_is_an_error(line: str, name: str, meant: str) -> None:
    """It names the line and the setting that was probably meant."""
    (problem,) = problems_of(f"# a comment\n\n{line}\n")
    assert problem == f"{name}: is no setting and has no effect: did you mean {meant}? (line 3 of .env)"


@pytest.mark.usefixtures("directory")
def test_a_name_like_none_of_ours_is_an_error_with_our_prefix_only() -> None:
    """Variables of other programs may be in the same file."""
    (problem,) = problems_of("LEARNING_COLOUR=green\nHTTP_PROXY=http://proxy:3128\nPGSSLMODE=require\nKC_LOG_LEVEL=INFO\n")
    assert problem == "LEARNING_COLOUR: is no setting and has no effect: correct its name, or remove it (line 1 of .env)"


KNOWN = """
OLLAMA_HOST=0.0.0.0
OLLAMA_KEEP_ALIVE=5m
OLLAMA_FLASH_ATTENTION=1
AI_TEXT_MODEL=mistral
AI_VISUAL_SYNTHESIS_TEMPERATURE=0
WORKER_TEST_RUN_ID=none
WORKER_LEASE_MULTIPLIER=4
OPENAI_BASE_URL=https://models.example/v1
OPENAI_API_KEY=sk-noop
DSPY_CACHEDIR=/tmp/dspy
DSPY_CACHE_LIMIT=0
GUSTAV_TRUST_PROXY=false
KC_BASE_URL=https://id.example
KC_SMTP_STARTTLS=true
COURSE_INVITE_SIGNING_SECRET=x
LEARNING_EXPORT_MAX_BYTES=1073741824
LEARNING_WORKER_DATABASE_URL=postgresql://gustav_worker@db/postgres
APP_DB_USER=gustav_app
APP_DB_PASSWORD=x
RLS_TEST_DSN=postgresql://gustav_app@db/postgres
TEACHING_DATABASE_URL=postgresql://gustav_app@db/postgres
SESSION_DATABASE_URL=postgresql://postgres@db/postgres
SESSIONS_BACKEND=db
SUPABASE_ANON_KEY=x
SUPABASE_STORAGE_BUCKET=materials
REQUIRE_STORAGE_VERIFY=true
AUTO_CREATE_STORAGE_BUCKETS=false
WEB_BASE=https://app.example
REDIRECT_URI=https://app.example/auth/callback
DB_SUPERUSER=postgres
TEST_DATABASE_ADMIN_URL=postgresql://postgres@db/postgres
SUPABASE_PUBLIC_URL=https://store.example
MATERIALS_MAX_UPLOAD_BYTES=20971520
"""


def test_names_of_ollama_and_of_the_platform_pass(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own settings and those of the platform are no mistakes, in the file and in the environment."""
    (directory / ".env").write_text(KNOWN)
    for line in KNOWN.split():
        monkeypatch.setenv(*line.split("=", 1))
    assert read_settings({}).unknown == ()


def test_every_name_of_ollama_that_the_documentation_uses_is_known() -> None:
    """Its service may share the settings file or the environment."""
    pages = [*(ROOT / "docs").glob("ollama*.md"), *(ROOT / "systemd/ollama.service.d").iterdir()]
    names = {name for page in pages for name in re.findall(r"\bOLLAMA_[A-Z_]+\b", page.read_text())}
    assert len(names) > 10
    assert [each.name for each in unknown_among(sorted(names), SETTINGS)] == []


@pytest.mark.usefixtures("directory")
def test_a_misspelled_name_in_the_environment_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment belongs to other programs as well, so the start goes on."""
    monkeypatch.setenv("WORKER_CONCURENCY", "4")
    (unknown,) = read_settings({}).unknown
    assert (unknown.name, unknown.meant) == ("WORKER_CONCURENCY", "WORKER_CONCURRENCY")
    assert "did you mean WORKER_CONCURRENCY?" in unknown.remedy


@pytest.mark.usefixtures("directory")
def test_a_name_that_comes_twice_is_an_error() -> None:
    """Only one of the two lines would have an effect. The values, which may be secrets, are not shown."""
    (problem,) = problems_of("AI_NUM_CTX=8192\nLOG_LEVEL=INFO\nAI_NUM_CTX=4096\n")
    assert problem == "AI_NUM_CTX: is set 2 times, in lines 1, 3 of .env: keep one of them"


@pytest.mark.parametrize(
    "line",
    ["AI_NUM_CTX", "AI NUM=8192", "AI_NUM_CTX: 8192", f"{PASSWORD} =", 'AI_PROMPT_LANGUAGE="de'],
    ids=["no =", "blank", "colon", "secret", "one quote"],
)
@pytest.mark.usefixtures("directory")
def test_a_line_that_is_no_assignment_is_an_error(line: str) -> None:
    """It is named by its number alone, because it may be a part of a secret."""
    if line.endswith("="):
        line = f"'{line[:-2]}"
    (problem,) = problems_of(f"LOG_LEVEL=INFO\n{line}\n")
    assert problem == "line 2 of .env: is no assignment: write NAME=value, with both quotes or none, or # before a comment"


def test_a_byte_order_mark_belongs_to_no_name(directory: Path) -> None:
    """Editors on Windows write one before the first name."""
    (directory / ".env").write_bytes("\ufeffAI_NUM_CTX=8192\r\n".encode())
    assert read_settings({}).worker.ai_num_ctx == 8192


# the backend


def test_the_backend_must_be_chosen() -> None:
    """Without it nothing starts, because the invented feedback of a stub would go to pupils. One line has the choices."""
    with pytest.raises(SettingsError) as caught:
        parse({"LEARNING_DATABASE_URL": DSN})
    (problem,) = caught.value.problems
    assert str(problem) == (
        "AI_BACKEND=(unset): must be chosen: write local for real feedback by Ollama, or stub for a trial with invented "
        "feedback, or name the platform's adapters in LEARNING_VISION_ADAPTER and LEARNING_FEEDBACK_ADAPTER "
        "(allowed: stub, local)"
    )


def test_two_named_adapters_need_no_backend() -> None:
    """It would have no effect. With one of them it still chooses the other."""
    named = {"LEARNING_VISION_ADAPTER": "platform.ocr", "LEARNING_FEEDBACK_ADAPTER": "platform.feedback"}
    worker = parse({"LEARNING_DATABASE_URL": DSN, **named}).worker
    assert (worker.vision_adapter, worker.feedback_adapter, worker.invents_something) == (
        "platform.ocr",
        "platform.feedback",
        False,
    )
    del named["LEARNING_VISION_ADAPTER"]
    with pytest.raises(SettingsError, match="AI_BACKEND"):
        parse({"LEARNING_DATABASE_URL": DSN, **named})


# amounts

SIZES = {"8GB": 8 * 2**30, "8G": 8 * 2**30, "512MiB": 512 * 2**20, "512 mb": 512 * 2**20, "1k": 1024, "7B": 7, "0": 0, "-1": -1}
DURATIONS = {
    "45s": 45,
    "5m": 300,
    "5 min": 300,
    "2h": 7200,
    "1d": 86_400,
    "500ms": 0.5,
    "0.5": 0.5,
    "90": 90,
    "1.5H": 5400,
    "-1": -1,
}


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_a_size(text: str, size: int) -> None:
    assert bytes_in(text) == size


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_a_duration(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds


AMOUNTS = {
    "whole seconds": ("AI_TIMEOUT_VISION", "2m", 120),
    "seconds": ("DRAIN_TIMEOUT_SECONDS", "5m", 300),
    "less than a second": ("WORKER_POLL_INTERVAL", "250ms", 0.25),
    "an age": ("WORKER_MAX_JOB_AGE_SECONDS", "2d", 172_800),
    "a file": ("LEARNING_MAX_UPLOAD_BYTES", "20MB", 20 * 2**20),
    "memory": ("WORKER_MEMORY_HARD_BYTES", "2GiB", 2 * 2**30),
}


@pytest.mark.parametrize(("variable", "text", "value"), AMOUNTS.values(), ids=AMOUNTS.keys())
def test_amounts_have_units_everywhere(variable: str, text: str, value: float) -> None:
    settings = parsed(**{variable: text})
    owner = settings.supervisor if hasattr(settings.supervisor, variable.lower()) else settings.worker
    assert getattr(owner, variable.lower()) == value


def test_every_amount_takes_a_unit() -> None:
    """A setting in seconds or bytes that takes plain numbers alone would be the exception that is forgotten."""
    amounts = [name for name in SETTINGS if name.endswith(("_SECONDS", "_BYTES")) or name.startswith("AI_TIMEOUT")]
    assert len(amounts) > 15
    for name in amounts:
        unit = "B" if name.endswith("_BYTES") else "s"
        low = SETTINGS[name].bound.split("..")[0]
        assert parsed(**{name: f"{low}{unit}"})


SUSPICIOUS = {
    "gigabytes without the unit": ("OLLAMA_MEMORY_LIMIT", "8", "8GB"),
    "megabytes without the unit": ("OLLAMA_MEMORY_LIMIT", "8192", "8192MB"),
    "a low water": ("OLLAMA_MEMORY_LOW_WATER", "7", "7GB"),
    "a worker's memory": ("WORKER_MEMORY_HARD_BYTES", "1024", "1024MB"),
    "a growth": ("WORKER_MEMORY_SOFT_BYTES", "512", "512MB"),
    "a file": ("LEARNING_MAX_UPLOAD_BYTES", "10", "10MB"),
}


@pytest.mark.parametrize(("variable", "value", "meant"), SUSPICIOUS.values(), ids=SUSPICIOUS.keys())
def test_a_number_of_bytes_that_lacks_its_unit_is_refused(variable: str, value: str, meant: str) -> None:
    """Eight bytes of memory hold back every job for ever."""
    problem = refused(**{variable: value})
    assert (problem.variable, f"{value} bytes are too few to be meant" in problem.remedy, meant in problem.remedy) == (
        variable,
        True,
        True,
    )


# words

WORDS = {
    "a choice": ("AI_BACKEND", "Local", "local"),
    "a level": ("LOG_LEVEL", "debug", "DEBUG"),
    "a boolean": ("ALLOW_SERVICE_DSN_FOR_TESTING", "TRUE", True),
    "another boolean": ("ALLOW_SERVICE_DSN_FOR_TESTING", "No", False),
    "a boolean with a third word": ("DATABASE_POOLED", "True", "true"),
    "a synonym": ("DATABASE_POOLED", "OFF", "false"),
    "the third word": ("AI_TAKE_TURNS", "AUTO", "auto"),
    "blanks around": ("AI_THINK_LEVEL", "High", "high"),
}


@pytest.mark.parametrize(("variable", "text", "value"), WORDS.values(), ids=WORDS.keys())
def test_words_in_any_case(variable: str, text: str, value: object) -> None:
    settings = parsed(**{variable: text})
    owner = settings.supervisor if hasattr(settings.supervisor, variable.lower()) else settings.worker
    assert getattr(owner, variable.lower()) == value


def test_a_wrong_word_gets_a_hint() -> None:
    assert refused(AI_BACKEND="lokal").remedy.startswith("is none of the words that are allowed, did you mean local?")


def test_blanks_around_a_value_have_no_meaning(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_NUM_CTX", " 8192 ")
    monkeypatch.setenv("AI_NUM_GPU", "  ")
    (directory / ".env").write_text("AI_NUM_GPU=1\n")
    worker = read_settings({}).worker
    assert (worker.ai_num_ctx, worker.ai_num_gpu) == (8192, 1)


def test_quotes_that_are_part_of_the_value_are_named() -> None:
    """Docker's --env-file keeps them."""
    assert refused(AI_BACKEND='"local"').remedy.startswith("the quotes are part of the value here: remove them")
    assert refused(LEARNING_DATABASE_URL=f'"{DSN}"').remedy.startswith("the quotes")


# the text of an error

WRONG_VALUES = (
    "soon",
    "-1",
    "1.5",
    "1e99",
    "0x10",
    "9" * 30,
    "true",
    "ja",
    "a b",
    "é",
    "http://",
    "[",
    "http://[::1",
    "%",
    "\x00",
    "postgres://",
)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_no_error_speaks_the_validator_s_jargon(setting: Setting) -> None:
    """Every setting with every kind of wrong value: the message is for an administrator, and ends with the help."""
    for value in WRONG_VALUES:
        try:
            parsed(**{setting.variable: value})
        except SettingsError as error:
            for problem in error.problems:
                message = problem.remedy.removesuffix(setting.help)
                assert not JARGON.search(message), str(problem)
                assert len(message) > 10, str(problem)


ODD_PASSWORDS = {
    "an @": "Wald@haus",
    "a slash": "Wald/haus",
    "a slash before a number": "12/haus",
    "a per cent sign": "Wald%haus",
    "a blank": "Wald haus",
    "a question mark and an @": "Wald?x@haus",
    "a bracket": "[Wald]haus",
}


@pytest.mark.parametrize("password", ODD_PASSWORDS.values(), ids=ODD_PASSWORDS.keys())
def test_a_password_that_ends_the_address_too_early(password: str) -> None:
    """libpq takes its rest for the host, and would show it in every error. The address is refused without any part of it."""
    try:
        settings = parsed(LEARNING_DATABASE_URL=f"postgresql://worker:{password}@db:5432/platform")
    except SettingsError as error:
        (problem,) = error.problems
        assert not re.search("Wald|haus|12", str(problem).replace("postgresql://role:password@host/database", ""))
    else:
        assert settings.worker.learning_database_url.get_secret_value().endswith(f"{password}@db:5432/platform")
        assert password.startswith("[")


@pytest.mark.parametrize("password", ["Wald@haus", "Wald/haus", "Wald%haus", "Wald%2"])
def test_a_special_character_of_the_password_is_named_as_the_cause(password: str) -> None:
    """An example of an address would not help, because the address looks like it."""
    remedy = refused(LEARNING_DATABASE_URL=f"postgresql://worker:{password}@db:5432/platform").remedy
    assert remedy.startswith("write special characters of the password with %: ")


def test_a_complete_message_is_not_followed_by_the_help() -> None:
    """A check of ours names the remedy. The help after it would say the same again."""
    assert refused(OLLAMA_MEMORY_LIMIT="8").remedy == "8 bytes are too few to be meant: add the unit, such as 8MB or 8GB"


MISPLACED = {
    "a URL": ("OLLAMA_BASE_URL", DSN),
    "words": ("STATUS_ADDR", f"host=db password={PASSWORD}"),
    "the password alone": ("AI_BACKEND", PASSWORD),
    "a part of a number": ("WORKER_CONCURRENCY", f"4{PASSWORD}"),
    "a key": ("AI_BACKEND", "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2Vydmlj"),
    "a random key": ("STATUS_ADDR", "sb_secret_N7UND0UgjKTVK"),
    "another random key": ("AI_PROMPT_LANGUAGE", "N7UND0UgjKTVKp83hAqz"),
    "the store's key": ("SUPABASE_URL", "the-secret-service-key"),
}


@pytest.mark.parametrize(("variable", "value"), MISPLACED.values(), ids=MISPLACED.keys())
def test_a_secret_in_a_wrong_variable_is_not_shown(variable: str, value: str) -> None:
    """Neither the value nor any part of it is in the message."""
    with pytest.raises(SettingsError) as caught:
        parsed(**{"SUPABASE_SERVICE_ROLE_KEY": "the-secret-service-key", variable: value})
    assert all(problem.shown_value == "***" for problem in caught.value.problems)
    assert not any(part in str(caught.value) for part in (PASSWORD, "Wald", value, value[:12]))
