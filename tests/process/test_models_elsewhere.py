"""Models that run outside of the house, although a local Ollama lists them: no pupil's work is sent there unasked."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from click.testing import CliRunner

from supervisor.cli.main import main
from testkit.database import Database
from testkit.ollama_simulator.process import start_simulator
from testkit.site import FEEDBACK_MODEL, VISION_MODEL, Site, open_site
from testkit.supervisor_process import as_variables

pytestmark = pytest.mark.postgres

MODELS = [f"{VISION_MODEL}:vision", f"{FEEDBACK_MODEL}:thinking", "teacher:remote=ollama.com"]
AWAY = {"ai_feedback_model": "teacher"}
ALLOWED = {**AWAY, "ai_send_pupils_work_to_cloud": "true"}


@pytest.fixture
def site(database: Database) -> Iterator[Site]:
    with ExitStack() as undo:
        options = {"tokens_per_second": 20_000, "load_seconds": 0.01, "vision_seconds": 0.01}
        simulator = undo.enter_context(start_simulator(model=MODELS, **options))
        yield undo.enter_context(open_site(database, simulator))


def test_start_rejects_a_model_elsewhere(site: Site) -> None:
    """The fleet ends with EX_CONFIG and one line that names the model and the remedy. No job was touched, nothing was sent."""
    text = site.enter_text()
    fleet = site.start_with(AWAY)
    assert fleet.exit_code() == 78
    [line] = fleet.logged("unsuitable")
    assert line["error"].startswith("model teacher runs outside of the house: set AI_FEEDBACK_MODEL to a local model")
    assert "AI_SEND_PUPILS_WORK_TO_CLOUD" in line["error"]
    assert site.job(text)["status"] == "queued"
    assert [call for call in site.simulator.calls() if call["model"] == "teacher:latest" and not call["is_empty"]] == []


def test_the_setting_allows_a_model_elsewhere(site: Site) -> None:
    """With the setting the work is sent."""
    text = site.enter_text()
    site.start_with(ALLOWED)
    site.until_done([text])
    assert any(call["model"] == "teacher:latest" and not call["is_empty"] for call in site.simulator.calls())


@pytest.mark.parametrize(("changes", "level"), [(AWAY, "failed"), (ALLOWED, "warning")], ids=["rejected", "allowed"])
def test_check_names_the_model_and_its_host(site: Site, changes: dict[str, str], level: str) -> None:
    """`check` fails, or warns if the setting allows it, and names the host."""
    result = CliRunner().invoke(main, ["check"], env={**as_variables({**site.settings(), **changes}), "COLUMNS": "300"})
    [line] = [line for line in result.stdout.splitlines() if "outside of the house" in line]
    assert line.split()[0] == level
    assert "https://ollama.com:443" in line
    assert result.exit_code == (1 if level == "failed" else result.exit_code)
