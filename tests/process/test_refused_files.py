"""Files that are refused: the reason is in the submission's row, in the log and in the metrics, and many in a row are told."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from testkit.inputs import corruptions, files, odd_pdfs
from testkit.inputs.every_page import FILM
from testkit.inputs.input import Entered
from testkit.live_fleet import LiveFleet
from testkit.site import Site, photo
from testkit.submissions import Submission
from testkit.waiting import until
from worker.core.file_refusals import REASONS, NotADocument
from worker.ipc.contract import REFUSAL_COUNTERS

pytestmark = pytest.mark.postgres

MAX_BYTES = 2**20
MAX_PAGES = 20
TOO_MANY = MAX_PAGES + 1
NO_DOCUMENT = b"PK\x03\x04" + bytes(100)


def handed_in(content: bytes, *pages: bytes) -> Submission:
    """Make a submission of this file, with the pages that the web side has rendered from it."""
    return replace(photo(), kind="file", content=content, mime_type="application/pdf", rendered_pages=pages)


def halve(entered: Entered) -> None:
    content = entered.path.read_bytes()
    entered.path.write_bytes(content[: len(content) // 2])


ORIGINALS: dict[str, Submission] = {
    "file_damaged": handed_in(b"%PDF-1.7\n" + bytes(range(256)) * 16),
    "file_too_large": handed_in(files.pdf() + bytes(MAX_BYTES)),
    "too_many_pages": handed_in(files.pdf(TOO_MANY)),
    "document_locked": handed_in(files.pdf(trailer=files.ENCRYPTED)),
    "not_a_document": handed_in(NO_DOCUMENT),
    "photo_format_unknown": handed_in(FILM),
    "form_not_printed": handed_in(odd_pdfs.xfa_form()),
}
CORRUPTED: dict[str, Callable[[Entered], object]] = {
    "file_empty": corruptions.empty,
    "file_cut_off": halve,
    "key_refused": corruptions.beside_the_root,
}
RENDERED: dict[str, Submission] = {  # the original has other pages, so it cannot take their place
    "file_empty": handed_in(files.pdf(2), b""),
    "file_damaged": handed_in(files.pdf(2), b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "file_too_large": handed_in(files.pdf(2), bytes(MAX_BYTES + 1)),
    "too_many_pages": handed_in(files.pdf(2), *[b"any"] * TOO_MANY),
    "not_a_document": handed_in(files.pdf(2), b"<html>"),
}


def test_each_reason_is_tried() -> None:
    """A new reason needs a file here, and a counter."""
    assert {*ORIGINALS, *CORRUPTED} == set(REASONS)
    assert set(REFUSAL_COUNTERS) == set(REASONS)


def test_a_refusal_is_told_with_its_reason(site: Site) -> None:
    """Row, log and metrics have the same stable reason, for an original as for the pages of the web side.

    The submission fails at once, with the code of the class, and no model is called for it.
    """
    entered = site.enter(*ORIGINALS.values(), *[photo()] * len(CORRUPTED), *RENDERED.values())
    reasons = dict(zip(entered, [*ORIGINALS, *CORRUPTED, *RENDERED], strict=True))
    for submission_id, corrupt in zip(entered[len(ORIGINALS) :], CORRUPTED.values(), strict=False):
        corrupt(Entered(site.owner, submission_id, site.storage_root))
    fleet = site.start(worker_concurrency=2, learning_max_upload_bytes=MAX_BYTES, max_pdf_pages=MAX_PAGES)
    site.until_done_once(entered)
    rows = {submission_id: site.submission(submission_id) for submission_id in entered}
    assert {each: row["vision_last_error"] for each, row in rows.items()} == reasons
    assert {each: row["error_code"] for each, row in rows.items()} == {each: REASONS[it].code for each, it in reasons.items()}
    assert {row["vision_attempts"] for row in rows.values()} == {0}
    until(lambda: len(fleet.logged("settled")) == len(entered))
    for kind in ("step_failed", "settled"):
        assert {line["submission"]: line["error"] for line in fleet.logged(kind)} == {
            str(each): it for each, it in reasons.items()
        }
    assert refused(fleet) == {reason: float([*reasons.values()].count(reason)) for reason in REASONS}
    assert site.vision_calls() == 0


def refused(fleet: LiveFleet) -> dict[str, float]:
    metrics = fleet.metrics()
    return {reason: metrics[f'learning_files_refused_total{{reason="{reason}"}}'] for reason in REASONS}


def test_many_refusals_for_one_reason_are_told(site: Site) -> None:
    """`status` names reason, number and remedy, as when the store sends a page in place of each file.

    A file that is read ends it.
    """
    fleet = site.start(worker_concurrency=1)
    site.until_done(site.enter(*[handed_in(NO_DOCUMENT)] * 4))
    assert fleet.status()["refused_files"] is None
    site.until_done(site.enter(handed_in(NO_DOCUMENT)))
    told = until(lambda: fleet.status()["refused_files"])
    assert (told["reason"], told["count"]) == (NotADocument.reason, 5)
    status = fleet.status()
    assert status["state"] == "degraded"
    assert "The last 5 files were all refused (not_a_document)" in status["message"]
    site.until_done(site.enter_photos())
    until(lambda: fleet.status()["state"] == "ok")
    assert fleet.status()["refused_files"] is None
