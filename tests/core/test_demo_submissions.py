"""The demo's submissions: all kinds, determined by the seed, within the platform's limits."""

import io
from collections import Counter

import pypdfium2
import pytest
from PIL import Image, UnidentifiedImageError

from testkit.submissions import Submission, damaged_jpeg_bytes, demo_submissions, text_submissions


@pytest.fixture(scope="module")
def submissions() -> tuple[Submission, ...]:
    return demo_submissions(seed=1)


def test_thirteen_complete_and_one_fails(submissions: tuple[Submission, ...]) -> None:
    """As in the demo's last line, 13 submissions are completed and one fails as corrupt input."""
    outcomes = Counter((each.expected_status, each.expected_error_code) for each in submissions)
    assert outcomes == {("completed", None): 13, ("failed", "input_corrupt"): 1}


def test_every_kind_of_file_occurs(submissions: tuple[Submission, ...]) -> None:
    """There are seven typed texts, four JPEG (one turned, one damaged), two PNG and one PDF."""
    kinds = Counter((each.kind, each.mime_type) for each in submissions)
    assert kinds == {
        ("text", None): 7,
        ("image", "image/jpeg"): 4,
        ("image", "image/png"): 2,
        ("file", "application/pdf"): 1,
    }


def test_criteria_go_from_none_to_four(submissions: tuple[Submission, ...]) -> None:
    """Each count from 0 to 4 occurs. Without criteria the score is computed differently."""
    assert {len(each.criteria) for each in submissions} == {0, 1, 2, 3, 4}


def test_labels_are_unique(submissions: tuple[Submission, ...]) -> None:
    """The labels in the demo's table differ."""
    assert len({each.label for each in submissions}) == 14


def test_an_image_carries_the_expected_text(submissions: tuple[Submission, ...]) -> None:
    """The comment of each readable image is the expected text."""
    images = [each for each in submissions if each.kind == "image" and each.expected_status == "completed"]
    assert [comment(each) for each in images] == [each.expected_text for each in images]


def test_one_photo_is_turned(submissions: tuple[Submission, ...]) -> None:
    """Exactly one photo is stored on its side, with EXIF orientation 6."""
    images = [opened(each) for each in submissions if each.kind == "image" and each.expected_status == "completed"]
    assert [image.getexif()[0x0112] for image in images if image.width > image.height] == [6]


def test_the_pdf_has_three_pages(submissions: tuple[Submission, ...]) -> None:
    """The file is a readable PDF with three pages."""
    (file,) = [each.content for each in submissions if each.kind == "file"]
    assert len(pypdfium2.PdfDocument(file)) == 3


@pytest.mark.parametrize("seed", range(20))
def test_the_damaged_photo_begins_like_one_and_is_none(seed: int) -> None:
    """It begins like a JPEG, and Pillow cannot read it for any seed."""
    damaged = damaged_jpeg_bytes(seed)
    assert damaged.startswith(b"\xff\xd8\xff\xe0")
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(damaged))


def test_the_failing_submission_is_the_damaged_photo(submissions: tuple[Submission, ...]) -> None:
    """Only the submission that no decoder can read is expected to fail."""
    (failing,) = [each for each in submissions if each.expected_status == "failed"]
    with pytest.raises(UnidentifiedImageError):
        opened(failing)


def test_equal_seeds_make_equal_submissions(submissions: tuple[Submission, ...]) -> None:
    """Equal seeds give equal bytes, another seed gives other images."""
    assert demo_submissions(seed=1) == submissions != demo_submissions(seed=2)


def test_load_is_typed_text_by_seed() -> None:
    """The generator makes typed answers, determined by the seed, some without criteria."""
    load = list(text_submissions(50, seed=3))
    assert load == list(text_submissions(50, seed=3)) != list(text_submissions(50, seed=4))
    assert [(each.kind, each.expected_text) for each in load] == [("text", each.content) for each in load]
    assert len(load) == 50
    assert {len(each.criteria) for each in load} == {0, 1, 2}


def opened(submission: Submission) -> Image.Image:
    assert isinstance(submission.content, bytes)
    return Image.open(io.BytesIO(submission.content))


def comment(submission: Submission) -> str:
    found = opened(submission).info["comment"]
    return found.decode() if isinstance(found, bytes) else str(found)
