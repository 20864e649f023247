"""What the documents say about settings is what the fields say: generated, current and readable by the program itself."""

from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from supervisor.settings import docs
from supervisor.settings.model import Setting, all_settings, parse

ROOT = Path(__file__).parents[2]
SETTINGS = list(all_settings())
DSN = {"LEARNING_DATABASE_URL": "postgresql://worker@db/platform"}
STORE = {"SUPABASE_URL": "https://store.test", "SUPABASE_SERVICE_ROLE_KEY": "key"}


def block(beginning: str) -> dict[str, str | None]:
    """The variables of the block of .env.example whose comment begins like this, as if nothing in it were commented out."""
    text = next(b for b in docs.env_example().split("\n\n") if b.startswith(beginning))
    return uncommented(text)


def uncommented(text: str) -> dict[str, str | None]:
    assignments = [line.removeprefix("#") for line in text.splitlines() if not line.startswith("# ") and line != "#"]
    return dotenv_values(stream=StringIO("\n".join(assignments)), interpolate=False)


def test_the_env_example_is_current() -> None:
    """Whoever adds a setting runs scripts/settings."""
    assert (ROOT / ".env.example").read_text() == docs.env_example()


def test_the_readme_table_is_current() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme == docs.with_table(readme)


def test_the_readme_keeps_what_stands_around_the_table() -> None:
    """An old table is replaced, the text before and after it is not."""
    readme = f"before\n{docs.TABLE_BEGIN}\nyesterday\n{docs.TABLE_END}\nafter\n"
    written = docs.with_table(readme)
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "yesterday" not in written
    assert docs.with_table(written) == written


def test_a_readme_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        docs.with_table(docs.TABLE_BEGIN)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_every_setting_is_explained(setting: Setting) -> None:
    """With a help that fits a cell of the table: one line without a bar."""
    assert setting.help
    assert not set("|\n") & set(setting.help)


def test_every_row_has_four_cells() -> None:
    rows = docs.readme_table().splitlines()
    assert len(rows) == len(SETTINGS) + 2
    assert {row.count("|") for row in rows} == {5}


def test_a_copied_env_example_sets_nothing() -> None:
    """It can be copied as it is: every line is commented out."""
    assert dotenv_values(stream=StringIO(docs.env_example())) == {}


def test_the_defaults_in_the_env_example_are_the_defaults() -> None:
    """All of them uncommented mean the same as none of them."""
    settings_alone = docs.env_example().split("\n\n")[-len(SETTINGS) :]
    values = uncommented("\n".join(settings_alone))
    assert list(values) == [setting.variable for setting in SETTINGS]
    assert parse({**values, **DSN}) == parse(DSN)


def test_the_development_profile_is_accepted() -> None:
    settings = parse({**block("# Profile for development"), **DSN})
    assert settings.supervisor.worker_concurrency == 1
    assert settings.worker.ai_backend == "stub"


def test_profile_and_ollama_s_service_agree_on_the_calls_at_once() -> None:
    """Whoever copies both files has as many permits as the server has places."""
    drop_in = (ROOT / "systemd/ollama.service.d/learning.conf").read_text()
    number = block("# Profile for production")["OLLAMA_NUM_PARALLEL"]
    assert f"Environment=OLLAMA_NUM_PARALLEL={number}\n" in drop_in


def test_the_production_profile_is_accepted() -> None:
    """Two to four workers, no more calls at once than the profile's Ollama takes, and a drain that a job's steps fit into."""
    settings = parse({**block("# Profile for production"), **DSN, **STORE})
    assert settings.supervisor.worker_concurrency in range(2, 5)
    assert settings.worker.ai_backend == "local"
    assert settings.worker.ollama_num_parallel == settings.supervisor.worker_concurrency
    longest_step_seconds = settings.worker.ai_timeout_vision + settings.worker.ai_timeout_feedback
    assert settings.supervisor.drain_timeout_seconds > longest_step_seconds


def test_no_secret_is_shown() -> None:
    """Were a secret ever given a default, no document would tell it."""
    values = uncommented(docs.env_example())
    assert {values[setting.variable] for setting in SETTINGS if setting.is_secret} == {""}


def test_a_secret_default_is_left_out() -> None:
    told = [Setting("KEY", default="dont-tell", bound="", help="a key", is_secret=True)]
    assert "dont-tell" not in docs.env_example(told) + docs.readme_table(told)
