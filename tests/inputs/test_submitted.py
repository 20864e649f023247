"""Pages of a submission: those of the web side, and the original's where one of them cannot be read."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from supervisor.settings.model import parse
from testkit.drawn_pages import draw_page, pdf_bytes
from testkit.inputs.files import encoded, read
from worker.core.file_refusals import FileCutOff, KeyRefused
from worker.documents.errors import RootUnreadable, StoreFileMissing
from worker.documents.page import Note
from worker.documents.submitted import Submitted

PAGES = 3
RENDERED_SIZE, ORIGINAL = (300, 200), "original"


def key(number: int) -> str:
    return f"bucket/derived/page_{number}.png"


@pytest.fixture
def submission(tmp_path: Path) -> dict[str, Any]:
    """A PDF with its rendered pages beside it, which have another size than its own."""
    (tmp_path / "bucket/derived").mkdir(parents=True)
    content = pdf_bytes([draw_page(f"Seite {number}", seed=1) for number in range(PAGES)])
    (tmp_path / "bucket/work.pdf").write_bytes(content)
    for number in range(1, PAGES + 1):
        (tmp_path / key(number)).write_bytes(encoded(draw_page("x", seed=1, size=RENDERED_SIZE), "PNG"))
    return {
        "storage_key": "bucket/work.pdf",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "internal_metadata": {"page_keys": [key(number) for number in range(1, PAGES + 1)]},
    }


def origins(root: Path, submission: dict[str, Any], first_page: int = 1) -> list[str]:
    """Origin of each page from `first_page` on."""
    given = {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning"}
    submitted = Submitted(parse({**given, "STORAGE_VERIFY_ROOT": str(root)}).worker, takes_own_text=False)
    with submitted.opened(submission, first_page) as document:
        assert len(document.continued) == PAGES
        return [
            "missing" if Note.PAGE_MISSING in page.notes else "rendered" if _size(page.picture) == RENDERED_SIZE else ORIGINAL
            for page in document.pages
        ]


def _size(picture: bytes) -> tuple[int, int]:
    image: Image.Image = read(picture)
    return image.size


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def empty(path: Path) -> None:
    path.write_bytes(b"")


FAULTS = pytest.mark.parametrize("harm", [remove, cut, empty])


def test_rendered_pages_come_first(tmp_path: Path, submission: dict[str, Any]) -> None:
    assert origins(tmp_path, submission) == ["rendered"] * PAGES


@FAULTS
def test_the_original_is_read_where_no_rendered_page_can_be(
    tmp_path: Path, submission: dict[str, Any], harm: Callable[[Path], None]
) -> None:
    """A document whose rendered pages are gone or damaged is read from the file that was handed in."""
    for number in range(1, PAGES + 1):
        harm(tmp_path / key(number))
    assert origins(tmp_path, submission) == [ORIGINAL] * PAGES


@FAULTS
def test_the_original_is_read_from_the_first_bad_page_on(
    tmp_path: Path, submission: dict[str, Any], harm: Callable[[Path], None]
) -> None:
    """A page keeps its number, so the pages before are not read again, also by a worker that continues there."""
    harm(tmp_path / key(2))
    assert origins(tmp_path, submission) == ["rendered", ORIGINAL, ORIGINAL]
    assert origins(tmp_path, submission, first_page=2) == [ORIGINAL, ORIGINAL]
    assert origins(tmp_path, submission, first_page=3) == ["rendered"]


def test_a_key_that_leads_elsewhere_is_replaced_by_the_original(tmp_path: Path, submission: dict[str, Any]) -> None:
    submission["internal_metadata"]["page_keys"][0] = "../elsewhere.png"
    assert origins(tmp_path, submission) == [ORIGINAL] * PAGES


def test_pages_in_an_unreadable_directory_are_replaced_by_the_original(tmp_path: Path, submission: dict[str, Any]) -> None:
    """Else the document would wait for ever, although the pupil's file is there. Without that file too it waits."""
    submission["internal_metadata"]["page_keys"] = [f"elsewhere/{number}.png" for number in range(1, PAGES + 1)]
    assert origins(tmp_path, submission) == [ORIGINAL] * PAGES
    (tmp_path / "bucket").rename(tmp_path / "unmounted")
    with pytest.raises(RootUnreadable):
        origins(tmp_path, submission)


def other_document(root: Path, submission: dict[str, Any]) -> None:
    """An original with another number of pages than the web side has rendered."""
    content = pdf_bytes([draw_page("x", seed=1)])
    (root / "bucket/work.pdf").write_bytes(content)
    submission |= {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def gone(root: Path, submission: dict[str, Any]) -> None:
    (root / submission["storage_key"]).unlink()


def damaged(root: Path, submission: dict[str, Any]) -> None:
    cut(root / submission["storage_key"])


NO_ORIGINAL = pytest.mark.parametrize("change", [other_document, gone, damaged])


@NO_ORIGINAL
def test_without_an_original_a_damaged_page_is_missing(
    tmp_path: Path, submission: dict[str, Any], change: Callable[[Path, dict[str, Any]], None]
) -> None:
    """Pages of an original that has other pages are not mixed with rendered ones."""
    change(tmp_path, submission)
    cut(tmp_path / key(2))
    assert origins(tmp_path, submission) == ["rendered", "missing", "rendered"]
    for number in (1, 3):
        cut(tmp_path / key(number))
    with pytest.raises(FileCutOff):
        origins(tmp_path, submission)


@NO_ORIGINAL
def test_without_an_original_a_page_that_is_not_there_is_waited_for(
    tmp_path: Path, submission: dict[str, Any], change: Callable[[Path, dict[str, Any]], None]
) -> None:
    """The store may be at fault, so the page is no damaged one. A key that leads elsewhere stays refused."""
    change(tmp_path, submission)
    (tmp_path / key(2)).unlink()
    with pytest.raises(StoreFileMissing):
        origins(tmp_path, submission)
    submission["internal_metadata"]["page_keys"][1] = "../elsewhere.png"
    with pytest.raises(KeyRefused):
        origins(tmp_path, submission)
