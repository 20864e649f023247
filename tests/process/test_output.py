"""Standard output and standard error are closed, full, or without a reader."""

import os
import subprocess
from pathlib import Path

import pytest

from testkit.live_fleet import PROGRAM, PROJECT_ROOT
from testkit.site import Site
from tests.tiers import in_two_tiers

OK, DEGRADED, USAGE, NOT_RUNNING, OUTPUT_LOST = 0, 1, 2, 3, 74
COMMAND_TIMEOUT_SECONDS = 60.0
STATUS = ("status",)
LOST = "the output could not be written: "


def run(redirection: str, directory: Path, *arguments: str, **settings: object) -> tuple[int, str]:
    """Run a command with a redirection of the shell. Return its exit code and its standard error."""
    values = {name.upper(): str(value) for name, value in settings.items()}
    result = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", PROGRAM, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT_ROOT), "RUNTIME_DIRECTORY": str(directory / "run"), **values},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
        check=False,
    )
    return result.returncode, result.stderr


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize(
    "arguments",
    in_two_tiers([STATUS, (*STATUS, "--json"), ("--help",), ("--version",), ("start", "--help")], {STATUS}),
)
def test_a_lost_output_is_one_line(tmp_path: Path, redirection: str, arguments: tuple[str, ...]) -> None:
    """Closed or full: one line with the reason, a code of its own, and no traceback."""
    code, error = run(redirection, tmp_path, *arguments)
    assert (code, error.startswith(f"learning-supervisor: {LOST}"), error.count("\n")) == (OUTPUT_LOST, True, 1)


@pytest.mark.parametrize("arguments", in_two_tiers([STATUS, (*STATUS, "--json"), ("--help",)], {STATUS}))
def test_a_reader_that_ends_changes_no_exit_code(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """As with `head`: no line and no traceback."""
    assert run("| head -c0", tmp_path, *arguments) == (OK if arguments == ("--help",) else NOT_RUNNING, "")


@pytest.mark.parametrize("redirection", in_two_tiers(["2>&-", "2>/dev/full"], {"2>&-"}))
def test_a_lost_error_text_changes_no_exit_code(tmp_path: Path, redirection: str) -> None:
    """The reason has no place to go, and the exit code still tells it."""
    assert run(redirection, tmp_path, "scale", "2") == (NOT_RUNNING, "")
    assert run(redirection, tmp_path, "scale", "x") == (USAGE, "")


def test_a_command_with_a_lost_output_is_carried_out(site: Site) -> None:
    """A full disk: `scale` has its effect, and `check` ends with the same code."""
    fleet = site.start()
    fleet.until_idle()
    code, error = run(">/dev/full", site.directory, "scale", "2", **site.settings())
    assert (code, LOST in error) == (OUTPUT_LOST, True)
    assert fleet.until_logged("scaled")[0]["workers"] == "2"
    code, error = run(">/dev/full", site.directory, "check", **site.settings())
    assert (code, error.count("\n")) == (OUTPUT_LOST, 1)


@pytest.mark.parametrize("redirection", in_two_tiers([">&- 2>&-", ">/dev/full 2>/dev/full"], {">&- 2>&-"}))
def test_a_fleet_without_any_output_works(site: Site, redirection: str) -> None:
    """Standard output and log are closed or full: jobs are done, and the stop has code 0."""
    fleet = site.start(wrapper=("sh", "-c", f'exec "$@" {redirection}', "sh"))
    site.until_done_once(site.enter_texts(3))
    assert fleet.stop() == OK


def test_a_wrong_number_names_the_range(tmp_path: Path) -> None:
    """Of workers and of slots."""
    assert "not a valid number from 1 to 64" in run("", tmp_path, "scale", "x")[1]
    assert "not a valid number from 0 to 63" in run("", tmp_path, "recycle", "x")[1]
