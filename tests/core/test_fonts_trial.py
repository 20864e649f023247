"""The point of `check` on the host's fonts."""

from pathlib import Path

import pytest

from supervisor.cli.fonts_trial import FILES, fonts
from supervisor.findings import Level
from worker.documents.pdf.host_fonts import FAMILIES


@pytest.mark.parametrize("name", FILES)
def test_a_font_of_many_letters_is_enough(tmp_path: Path, name: str) -> None:
    """It may be anywhere below the directories that are searched, of which one may be missing."""
    (tmp_path / "truetype" / "some").mkdir(parents=True)
    (tmp_path / "truetype" / "some" / name).touch()
    assert [found.level for found in fonts((tmp_path / "none", tmp_path))] == [Level.OK]


def test_a_host_without_fonts_is_warned_of(tmp_path: Path) -> None:
    """Work goes on, and the remedy names a package."""
    (tmp_path / "other.ttf").touch()
    (found,) = fonts((tmp_path,))
    assert found.level is Level.WARNING
    assert "fonts-dejavu-core" in found.remedy


def test_check_and_decoder_name_the_same_families() -> None:
    """A family of the decoder has a file that `check` searches, in the same order."""
    assert [family.replace(" ", "") for family in FAMILIES] == [name.partition(".")[0].partition("-")[0] for name in FILES]
