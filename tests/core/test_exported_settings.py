"""The variables that workers export for adapters of another package, which read the environment."""

from pathlib import Path

import pytest

from supervisor.settings.model import changed_variables, read_settings

FILE = "LEARNING_DATABASE_URL=postgresql://worker@db/school\nAI_BACKEND=local\nOPENAI_BASE_URL=http://file\nAI_TEXT_MODEL=file\nEMPTY=\n"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty environment, and a settings file in the current directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("LEARNING_DATABASE_URL", "AI_BACKEND", "OPENAI_BASE_URL", "AI_TEXT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text(FILE)
    return tmp_path


def test_the_file_is_exported_below_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment keeps its value, an empty one has none."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://environment")
    monkeypatch.setenv("AI_TEXT_MODEL", "")
    exported = read_settings({}).exported
    assert (exported.get("OPENAI_BASE_URL"), exported.get("AI_TEXT_MODEL"), "EMPTY" in exported) == (None, "file", False)


def test_a_credential_is_exported_above_both(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the object store may be a file of its own, and the adapters read the store too."""
    (directory / "SUPABASE_SERVICE_ROLE_KEY").write_text("from a file\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "from the environment")
    assert read_settings({}).exported["SUPABASE_SERVICE_ROLE_KEY"] == "from a file"


def test_secrets_are_not_printed() -> None:
    assert "http://file" not in repr(read_settings({}))


def test_a_reload_names_what_has_changed_for_the_adapters(directory: Path) -> None:
    """The names alone: a value may be a secret."""
    before = read_settings({})
    (directory / ".env").write_text(FILE.replace("AI_TEXT_MODEL=file", "AI_TEXT_MODEL=other"))
    assert changed_variables(before, read_settings({})) == ("AI_TEXT_MODEL",)
