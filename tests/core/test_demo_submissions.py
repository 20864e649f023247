"""The demo's submissions: all kinds, determined by the seed, within the platform's limits."""

import io
from collections import Counter

import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

from testkit.drawn_marks import marks_in
from testkit.submissions import Submission, damaged_jpeg_bytes, demo_submissions


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


def test_an_image_carries_the_expected_text(submissions: tuple[Submission, ...]) -> None:
    """The text in cells on each readable image is the expected one."""
    images = [each for each in submissions if each.kind == "image" and each.expected_status == "completed"]
    assert [drawn_text(each) for each in images] == [each.expected_text for each in images]


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


def opened(submission: Submission) -> Image.Image:
    assert isinstance(submission.content, bytes)
    return Image.open(io.BytesIO(submission.content))


def drawn_text(submission: Submission) -> str:
    (text,) = marks_in(ImageOps.exif_transpose(opened(submission)))
    return text
