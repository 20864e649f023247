"""Submissions of every kind, and their entry as by the platform: a file, a row and a job."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid4, uuid5

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from testkit import schoolwork
from testkit.drawn_pages import HANDS, draw_page, jpeg_bytes, pdf_bytes, png_bytes
from testkit.schoolwork import Schoolwork

BUCKET: Final = "submissions"
COURSE_ID: Final = UUID("0d3f6c1e-6a5b-4b0e-9d0c-5b6f0a7e2c11")
TURNED_ORIENTATION: Final = 6  # turn clockwise by 90°, written by phones that are held upright
SUFFIXES: Final = {"image/jpeg": "jpg", "image/png": "png", "application/pdf": "pdf"}
JPEG_BEGINNING: Final = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")  # start of image, JFIF segment
DAMAGED_BYTES: Final = 4096
SHORT_ANSWER_SENTENCES: Final = (2, 5)

INSERT_ROW: Final = """
    insert into public.learning_submissions
        (course_id, task_id, student_sub, kind, text_body, storage_key, mime_type, size_bytes, sha256, attempt_nr)
    select %(course_id)s, %(task_id)s, %(student_sub)s, %(kind)s, %(text_body)s,
           %(storage_key)s, %(mime_type)s, %(size_bytes)s, %(sha256)s, coalesce(max(attempt_nr), 0) + 1
      from public.learning_submissions
     where course_id = %(course_id)s and task_id = %(task_id)s and student_sub = %(student_sub)s
    returning id, attempt_nr
"""

EXTRACT: Final = """
    update public.learning_submissions set analysis_status = 'extracted', internal_metadata = %(metadata)s where id = %(id)s
"""

INSERT_JOB: Final = """
    insert into public.learning_submission_jobs (submission_id, payload) values (%(submission_id)s, %(payload)s)
"""


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission and its expected result.

    `content` is the typed text for kind `text`, else the bytes of the file. `expected_text` is the text that the simulator
    reads, None if it is unknown (no text is drawn on the pages of a PDF). `rendered_pages` are PNGs that the web
    application has made of a document, `cached_text_md` is the text that it has read.
    """

    label: str
    kind: Literal["text", "image", "file"]
    content: str | bytes
    mime_type: str | None
    criteria: tuple[str, ...]
    instruction_md: str
    hints_md: str | None
    expected_text: str | None
    expected_status: Literal["completed", "failed"] = "completed"
    expected_error_code: str | None = None
    rendered_pages: tuple[bytes, ...] = ()
    cached_text_md: str | None = None

    @property
    def is_extracted(self) -> bool:
        return bool(self.rendered_pages or self.cached_text_md)


def demo_submissions(seed: int = 2026) -> tuple[Submission, ...]:
    """Make fourteen submissions, one of which must fail. Equal seeds give equal bytes."""
    return (
        *map(_typed, schoolwork.TYPED),
        _typed(schoolwork.INJECTION),
        *(_photographed(work, seed + number) for number, work in enumerate(schoolwork.PHOTOGRAPHED)),
        *(_scanned(work, seed + number) for number, work in enumerate(schoolwork.SCANNED, start=10)),
        _photographed(schoolwork.TURNED, seed + 20, exif_orientation=TURNED_ORIENTATION),
        _bound(schoolwork.BOUND, seed + 30),
        _damaged(schoolwork.DAMAGED, seed + 40),
    )


def text_submissions(count: int, seed: int) -> Iterator[Submission]:
    """Yield `count` short typed answers for load, determined by the seed."""
    chance = random.Random(seed)
    for number in range(1, count + 1):
        instruction_md, criteria = chance.choice(schoolwork.SHORT_TASKS)
        answer = " ".join(chance.sample(schoolwork.SHORT_SENTENCES, chance.randint(*SHORT_ANSWER_SENTENCES)))
        yield _typed(Schoolwork(f"Kurzantwort {number}", instruction_md, (answer,), criteria))


def damaged_jpeg_bytes(seed: int) -> bytes:
    """Make the first 20 bytes of a JPEG and bytes without any marker, which no decoder can read."""
    chance = random.Random(seed)
    return JPEG_BEGINNING + bytes(chance.randrange(1, 0xFF) for _ in range(DAMAGED_BYTES - len(JPEG_BEGINNING)))


def enter_all(
    connection: psycopg.Connection[Any],
    submissions: Iterable[Submission],
    *,
    storage_root: Path,
    course_id: UUID = COURSE_ID,
) -> tuple[UUID, ...]:
    """Enter submissions in order, each for another pupil. Equal instructions are one task. Return the ids."""
    return tuple(
        enter_submission(
            connection,
            submission,
            storage_root=storage_root,
            course_id=course_id,
            task_id=uuid5(course_id, submission.instruction_md),
            student_sub=f"schueler-{number:04d}",
        )
        for number, submission in enumerate(submissions, start=1)
    )


def enter_submission(
    connection: psycopg.Connection[Any],
    submission: Submission,
    *,
    storage_root: Path,
    course_id: UUID,
    task_id: UUID,
    student_sub: str,
) -> UUID:
    """Enter one submission like the platform: first the file, then row and job in one transaction.

    A file without a row is harmless, a row without its file would fail. Raises ValueError inside a transaction, OSError for
    the file and psycopg.Error for the database.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise ValueError("enter_submission commits by itself: call it outside a transaction")
    owner = {"course_id": course_id, "task_id": task_id, "student_sub": student_sub}
    folder_key = f"{BUCKET}/{course_id}/{task_id}/{student_sub}"
    stored = _store(submission, storage_root, f"{folder_key}/orig")
    text_body = submission.content if isinstance(submission.content, str) else None
    with connection.transaction():
        row = {"kind": submission.kind, "text_body": text_body, **owner, **stored}
        submission_id, attempt_nr = _insert_row(connection, row)
        if submission.is_extracted:
            page_keys = _store_pages(submission, storage_root, f"{folder_key}/derived/{submission_id}")
            connection.execute(EXTRACT, {"id": submission_id, "metadata": Jsonb({"page_keys": page_keys})})
        payload = _payload(submission, submission_id, attempt_nr) | {name: str(value) for name, value in owner.items()}
        connection.execute(INSERT_JOB, {"submission_id": submission_id, "payload": Jsonb(payload)})
    return submission_id


def _insert_row(connection: psycopg.Connection[Any], row: dict[str, Any]) -> tuple[UUID, int]:
    inserted = connection.execute(INSERT_ROW, row).fetchone()
    if inserted is None:
        raise LookupError("an insert that returns its id returned nothing: a rule or trigger may discard the row")
    return inserted[0], inserted[1]


def _payload(submission: Submission, submission_id: UUID, attempt_nr: int) -> dict[str, Any]:
    return {
        "submission_id": str(submission_id),
        "kind": submission.kind,
        "attempt_nr": attempt_nr,
        "criteria": list(submission.criteria),
        "instruction_md": submission.instruction_md,
        "hints_md": submission.hints_md,
        **({} if submission.cached_text_md is None else {"cached_text_md": submission.cached_text_md}),
    }


def _store(submission: Submission, storage_root: Path, folder_key: str) -> dict[str, str | int | None]:
    """Write the file. Return the row's columns about it, which are None for a typed text."""
    if isinstance(submission.content, str) or submission.mime_type is None:
        return dict.fromkeys(("storage_key", "mime_type", "size_bytes", "sha256"))
    storage_key = f"{folder_key}/{uuid4()}.{SUFFIXES[submission.mime_type]}"
    path = storage_root / storage_key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(submission.content)
    return {
        "storage_key": storage_key,
        "mime_type": submission.mime_type,
        "size_bytes": len(submission.content),
        "sha256": hashlib.sha256(submission.content).hexdigest(),
    }


def _store_pages(submission: Submission, storage_root: Path, folder_key: str) -> list[str]:
    """Write the pages and return their storage keys, in order."""
    (storage_root / folder_key).mkdir(parents=True, exist_ok=True)
    keys = [f"{folder_key}/page_{number:04d}.png" for number, _ in enumerate(submission.rendered_pages, start=1)]
    for key, page in zip(keys, submission.rendered_pages, strict=True):
        (storage_root / key).write_bytes(page)
    return keys


def _typed(work: Schoolwork) -> Submission:
    return Submission(
        label=work.label,
        kind="text",
        content=work.text,
        mime_type=None,
        criteria=work.criteria,
        instruction_md=work.instruction_md,
        hints_md=work.hints_md,
        expected_text=work.text,
    )


def _photographed(work: Schoolwork, seed: int, *, exif_orientation: int = 1) -> Submission:
    content = jpeg_bytes(draw_page(work.text, seed=seed), work.text, exif_orientation=exif_orientation)
    return _uploaded(work, content, "image/jpeg", expected_text=work.text)


def _scanned(work: Schoolwork, seed: int) -> Submission:
    content = png_bytes(draw_page(work.text, seed=seed), work.text)
    return _uploaded(work, content, "image/png", expected_text=work.text)


def _bound(work: Schoolwork, seed: int) -> Submission:
    """Make a PDF. The seeds of its pages differ by a multiple of the number of hands, so that all have the same hand."""
    pages = [draw_page(text, seed=seed + len(HANDS) * number) for number, text in enumerate(work.pages)]
    return _uploaded(work, pdf_bytes(pages), "application/pdf", expected_text=None)


def _damaged(work: Schoolwork, seed: int) -> Submission:
    whole = _uploaded(work, damaged_jpeg_bytes(seed), "image/jpeg", expected_text=None)
    return replace(whole, expected_status="failed", expected_error_code="input_corrupt")


def _uploaded(work: Schoolwork, content: bytes, mime_type: str, *, expected_text: str | None) -> Submission:
    return Submission(
        label=work.label,
        kind="file" if mime_type == "application/pdf" else "image",
        content=content,
        mime_type=mime_type,
        criteria=work.criteria,
        instruction_md=work.instruction_md,
        hints_md=work.hints_md,
        expected_text=expected_text,
    )
