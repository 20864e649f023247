"""Documents on settings agree with the fields: they are generated, current and readable by the program itself."""

from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from supervisor.settings import docs
from supervisor.settings.model import Setting, all_settings, parse

ROOT = Path(__file__).parents[2]
SETTINGS = list(all_settings())
DSN = {"LEARNING_DATABASE_URL": "postgresql://worker@db/platform"}
GIVEN = {**DSN, "AI_BACKEND": "stub"}  # without these two nothing starts
STORE = {"SUPABASE_URL": "https://store.test", "SUPABASE_SERVICE_ROLE_KEY": "key"}


def block(beginning: str) -> dict[str, str | None]:
    """Variables of the block of .env.example whose comment has this beginning, read without their comment marks."""
    text = next(b for b in docs.env_example().split("\n\n") if b.startswith(beginning))
    return uncommented(text)


def uncommented(text: str) -> dict[str, str | None]:
    assignments = [line.removeprefix("#") for line in text.splitlines() if not line.startswith("# ") and line != "#"]
    return dotenv_values(stream=StringIO("\n".join(assignments)), interpolate=False)


def test_the_env_example_is_current() -> None:
    """A change of a setting needs a run of scripts/settings."""
    assert (ROOT / ".env.example").read_text() == docs.env_example()


def test_the_settings_page_is_current() -> None:
    assert (ROOT / "docs/settings.md").read_text() == docs.settings_page()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_every_setting_is_explained(setting: Setting) -> None:
    """The help fits a table cell: one line without a bar."""
    assert setting.help
    assert not set("|\n") & set(setting.help)


def test_every_row_has_four_cells() -> None:
    rows = [line for line in docs.settings_page().splitlines() if line.startswith("|")]
    assert len(rows) == len(SETTINGS) + 2
    assert {row.count("|") for row in rows} == {5}


def test_a_copied_env_example_sets_nothing() -> None:
    """Every line is commented out, so the file can be copied unchanged."""
    assert dotenv_values(stream=StringIO(docs.env_example())) == {}


def test_the_defaults_in_the_env_example_are_the_defaults() -> None:
    """Removing every comment mark changes no setting."""
    settings_alone = docs.env_example().split("\n\n")[-len(SETTINGS) :]
    values = uncommented("\n".join(settings_alone))
    assert list(values) == [setting.variable for setting in SETTINGS]
    assert parse({**values, **GIVEN}) == parse(GIVEN)


def test_the_development_profile_is_accepted() -> None:
    settings = parse({**block("# Profile for development"), **DSN})
    assert settings.supervisor.worker_concurrency == 1
    assert settings.worker.ai_backend == "stub"


def test_profile_and_ollama_s_service_agree_on_the_calls_at_once() -> None:
    """The production profile has as many permits as the drop-in's Ollama takes calls at once."""
    drop_in = (ROOT / "systemd/ollama.service.d/learning.conf").read_text()
    number = block("# Profile for production")["OLLAMA_NUM_PARALLEL"]
    assert f"Environment=OLLAMA_NUM_PARALLEL={number}\n" in drop_in


def test_the_production_profile_is_accepted() -> None:
    """Two to four workers, as many permits as workers, and a drain longer than the steps of a job."""
    settings = parse({**block("# Profile for production"), **DSN, **STORE})
    assert settings.supervisor.worker_concurrency in range(2, 5)
    assert settings.worker.ai_backend == "local"
    assert settings.worker.ollama_num_parallel == settings.supervisor.worker_concurrency
    longest_step_seconds = settings.worker.ai_timeout_vision + settings.worker.ai_timeout_feedback
    assert settings.supervisor.drain_timeout_seconds > longest_step_seconds


def test_no_secret_is_shown() -> None:
    """A secret has an empty value in .env.example."""
    values = uncommented(docs.env_example())
    assert {values[setting.variable] for setting in SETTINGS if setting.is_secret} == {""}


def test_a_secret_default_is_left_out() -> None:
    hidden = [Setting("KEY", default="dont-tell", bound="", help="a key", is_secret=True)]
    assert "dont-tell" not in docs.env_example(hidden) + docs.settings_page(hidden)
