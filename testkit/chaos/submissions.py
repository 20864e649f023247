"""The submissions of a run. All pictures differ, so that each vision call belongs to one known page."""

from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

import psycopg
from PIL import Image

from testkit.chaos.plan import PlannedSubmission, Work
from testkit.drawn_pages import with_text
from testkit.schoolwork import SHORT_SENTENCES, SHORT_TASKS
from testkit.submissions import COURSE_ID, Submission, damaged_jpeg_bytes, enter_submission

PAGE_PIXELS: Final = (240, 320)
BLOT_PIXELS: Final = 20
DOCUMENT_PAGES: Final = (2, 4)
PUPIL: Final = "pupil-"


def enter(platform: psycopg.Connection[Any], planned: PlannedSubmission, seed: int, storage_root: Path) -> UUID:
    """Enter a submission like the platform. The pupil's name contains its number. Raises psycopg.Error."""
    submission = made(planned, seed)
    return enter_submission(
        platform,
        submission,
        storage_root=storage_root,
        course_id=COURSE_ID,
        task_id=uuid5(COURSE_ID, submission.instruction_md),
        student_sub=f"{PUPIL}{planned.number}",
    )


def was_entered(platform: psycopg.Connection[Any], planned: PlannedSubmission) -> UUID | None:
    """Return the id of an entered submission, else None. Raises psycopg.Error."""
    query = "select id from learning_submissions where student_sub = %s"
    row = platform.execute(query, [f"{PUPIL}{planned.number}"]).fetchone()
    return row[0] if row else None


def made(planned: PlannedSubmission, seed: int) -> Submission:
    """Make a submission. Equal seed and number give equal bytes."""
    random = Random(f"{seed}/{planned.number}")
    instruction_md, criteria = random.choice(SHORT_TASKS)
    content, mime_type = _content(planned, random)
    pages = random.randint(*DOCUMENT_PAGES)
    return Submission(
        label=f"{planned.work} {planned.number}",
        kind=_KINDS[planned.work],
        content=content,
        mime_type=mime_type,
        criteria=criteria,
        instruction_md=instruction_md,
        hints_md=None,
        expected_text=None,
        expected_status="failed" if planned.work is Work.DAMAGED else "completed",
        expected_error_code="input_corrupt" if planned.work is Work.DAMAGED else None,
        rendered_pages=tuple(
            _rendered(planned, number, random) for number in range(pages if planned.work is Work.RENDERED else 0)
        ),
        cached_text_md=f"read before: {planned.number}" if planned.work is Work.READ else None,
    )


_KINDS: Final[dict[Work, Any]] = {
    Work.TEXT: "text",
    Work.PHOTO: "image",
    Work.SCAN: "image",
    Work.DOCUMENT: "file",
    Work.RENDERED: "file",
    Work.READ: "file",
    Work.DAMAGED: "image",
}


def _content(planned: PlannedSubmission, random: Random) -> tuple[str | bytes, str | None]:
    text = f"{planned.number}: {' '.join(random.sample(SHORT_SENTENCES, 3))}"
    match planned.work:
        case Work.TEXT:
            return text, None
        case Work.PHOTO:
            return _saved(with_text(_page(random), text), "JPEG"), "image/jpeg"
        case Work.SCAN:
            return _saved(with_text(_page(random), text), "PNG"), "image/png"
        case Work.DOCUMENT | Work.RENDERED | Work.READ:
            first, *rest = (_page(random) for _ in range(random.randint(*DOCUMENT_PAGES)))
            dates = {"creationDate": None, "modDate": None}  # a date would change the bytes
            return _saved(first, "PDF", save_all=True, append_images=rest, **dates), "application/pdf"
        case Work.DAMAGED:
            return damaged_jpeg_bytes(planned.number), "image/jpeg"


def _rendered(planned: PlannedSubmission, number: int, random: Random) -> bytes:
    """Make a page of the web side. A worker encodes it anew, so its text is drawn on it."""
    return _saved(with_text(_page(random), f"{planned.number}: page {number}"), "PNG")


def _page(random: Random) -> Image.Image:
    """Draw random blots, so that all pages differ."""
    width, height = (side // BLOT_PIXELS for side in PAGE_PIXELS)
    blots = Image.frombytes("L", (width, height), random.randbytes(width * height))
    return blots.resize(PAGE_PIXELS, Image.Resampling.NEAREST).convert("RGB")


def _saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    target = BytesIO()
    picture.save(target, form, **options)
    return target.getvalue()
