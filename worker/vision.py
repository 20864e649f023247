"""The vision step: reads the text of a submission's pages. Each page is committed before a model is asked for the next one.

A page with its own text, or without any, needs no model: no permit is taken for it and no call is counted. It takes a tenth of a
second and a call half a minute. So such pages are committed together: before the next call, before the lease ends, or with the
whole text.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from worker.adapter_calls import AdapterCalls, returned_document, returned_text
from worker.adapters.loading import ATTEMPT
from worker.context import WorkerContext
from worker.core import checkpoint, joining
from worker.core.doubt import NO_CONFIDENCE, Confidence, PageGrade, ReadPage, grade_of, parsed_grades
from worker.core.outcome import Lease, Payload, Submission
from worker.documents.page import Note
from worker.documents.storage import page_keys
from worker.held_lease import HeldLease, PageWrite
from worker.ipc.contract import Activity, Counter, EventKind, Step
from worker.queue.checkpoints import OcrPage, OcrResult, pages_after, write_checkpoint, write_pages
from worker.queue.usage import UsageWrite
from worker.settings import WorkerSettings
from worker.timeouts import (
    READ_DEADLINE_SECONDS,
    feedback_limit_seconds,
    next_page_limit_seconds,
    page_limit_seconds,
    reading_limit_seconds,
)

PAGE_GRADES = "page_grades"  # in the metadata of a reading

T = TypeVar("T")


class VisionStep:
    """Reads page by page if the adapter has `pages`, as ours has. Any other adapter reads all pages in one call.

    The pages may have `unasked_text`: the text of a page for which no model is asked, or None.
    """

    def __init__(self, ctx: WorkerContext, held: HeldLease, calls: AdapterCalls) -> None:
        self._ctx, self._held, self._calls = ctx, held, calls
        self.grades: tuple[PageGrade, ...] = ()  # of the pages of `text`. Texts of other adapters have none

    def text(self, payload: Payload, submission: Submission) -> str:
        """The checkpoint's text if it is still valid, otherwise the text that the vision model reads now."""
        fingerprint = self._fingerprint(payload, submission)
        if checkpoint.is_usable(payload, submission, fingerprint):
            self._ctx.report.count(Counter.OCR_REUSED)
            self.grades = parsed_grades(payload.cached_raw_metadata.get(PAGE_GRADES))
            return payload.cached_text_md or ""
        if hasattr(self._ctx.vision_adapter, "pages"):
            ocr = self._by_pages(payload, submission, fingerprint)
        else:
            ocr = self._in_one_call(submission, fingerprint)
        self._commit(ocr)
        return ocr.text_md

    def _fingerprint(self, payload: Payload, submission: Submission) -> str:
        """The fingerprint of a text read now. Without the adapter's own, it covers the adapter's module and the model's name."""
        if checkpoint.is_extracted(payload, submission):
            return ""  # not needed: this text is valid whatever it was read from
        self._ctx.report.enter_activity(Activity.READ, READ_DEADLINE_SECONDS)
        adapter, settings = self._ctx.vision_adapter, self._ctx.settings
        if hasattr(adapter, "fingerprint"):
            return self._calls.ask(Step.VISION, lambda: str(adapter.fingerprint(submission)))
        return checkpoint.fingerprint(str(submission["sha256"]), settings.vision_adapter, settings.ai_vision_model, "")

    def _by_pages(self, payload: Payload, submission: Submission, fingerprint: str) -> OcrResult:
        """Starts at the first page without a checkpoint. Takes the permit only before the first call."""
        texts = list(checkpoint.usable_pages(payload, fingerprint))
        grades = [grade for grade in payload.cached_page_grades if grade.page <= len(texts)]
        with ExitStack() as stack:
            pages = self._open(stack, submission, len(texts) + 1)
            if len(texts) >= pages.total:  # the last page has no page checkpoint, so these belong to another document
                texts.clear()
                grades.clear()
                pages = self._open(stack, submission, 1)
            self._ctx.report.count(Counter.PAGES_REUSED, len(texts))
            reading = _Reading(texts, grades, fingerprint, len(texts))
            while len(texts) < pages.total:
                self._read_next(pages, reading)
        self.grades = tuple(grades)
        metadata = {**pages.metadata(), PAGE_GRADES: [grade.as_json() for grade in grades]}
        return OcrResult(joining.joined(texts, getattr(pages, "continued", ())), metadata, fingerprint)

    def _open(self, stack: ExitStack, submission: Submission, first_page: int) -> Any:
        self._ctx.report.enter_activity(Activity.READ, READ_DEADLINE_SECONDS)
        attempt = {ATTEMPT: self._calls.attempts} if self._ctx.reads_by_attempt else {}
        opening = self._ctx.vision_adapter.pages(submission, first_page=first_page, **attempt)
        return self._calls.ask(Step.VISION, lambda: stack.enter_context(opening))

    def _read_next(self, pages: Any, reading: "_Reading") -> None:
        """Reads one page, and commits it at once if a model was called for it and more pages follow."""
        page = self._calls.ask(Step.VISION, pages.next_page)
        text = self._calls.ask(Step.VISION, lambda: _unasked_text(pages, page))
        if text is None:
            self._begin_call(reading)
            text = self._call(lambda: returned_text(pages.read(page)), page_limit_seconds(self._ctx.settings))
            self._add(reading, text, page, getattr(pages, "confidence", NO_CONFIDENCE))
            if len(reading.texts) < pages.total:
                self._commit_pages(reading)
                self._ctx.report.enter_activity(Activity.READ, READ_DEADLINE_SECONDS)
            return
        self._add(reading, text, page)
        usage = self._ctx.usage.for_checkpoint()
        if len(reading.texts) < pages.total and self._held.continue_reading(self._writing(reading, usage)):
            self._committed(reading, usage)

    def _add(self, reading: "_Reading", text: str, page: Any, confidence: Confidence | None = None) -> None:
        """Adds a page with its grade. `confidence` is None if no model was asked for it."""
        attempt, notes = self._calls.attempts, tuple(str(note) for note in getattr(page, "notes", ()))
        read = ReadPage(notes, bool(text.strip()), confidence, attempt, self._held.lease.error_code)
        grade = grade_of(len(reading.texts) + 1, read)
        reading.texts.append(_continuation(reading.texts[-1] if reading.texts else "", text, page))
        reading.grades.append(grade)
        if grade.is_doubtful:
            report_doubt(self._ctx, self._held.lease, grade)

    def _begin_call(self, reading: "_Reading") -> None:
        """Commits the pages before the call that needed none, and takes a permit if none is held."""
        settings = self._ctx.settings
        if reading.unwritten:
            self._commit_pages(reading)
        self._held.start_step(Step.VISION, page_limit_seconds(settings), settings.ai_vision_model)

    def _commit_pages(self, reading: "_Reading") -> None:
        """Commits the pages in the round trip that renews the lease for the next one."""
        usage = self._ctx.usage.for_checkpoint()
        self._held.continue_step(next_page_limit_seconds(self._ctx.settings), self._writing(reading, usage))
        self._committed(reading, usage)

    def _writing(self, reading: "_Reading", usage: UsageWrite) -> PageWrite:
        return lambda connection, lease_seconds: write_pages(
            connection, self._held.lease, reading.unwritten, lease_seconds, usage
        )

    def _committed(self, reading: "_Reading", usage: UsageWrite) -> None:
        reading.written = len(reading.texts)
        self._calls.page_committed()
        self._ctx.usage.written(usage, self._held.lease.job_id)

    def _in_one_call(self, submission: Submission, fingerprint: str) -> OcrResult:
        settings = self._ctx.settings
        hard_limit_seconds = reading_limit_seconds(_max_pages(submission, settings), settings)
        self._held.start_step(Step.VISION, hard_limit_seconds, settings.ai_vision_model)
        return self._call(lambda: self._extract(submission, fingerprint), hard_limit_seconds)

    def _extract(self, submission: Submission, fingerprint: str) -> OcrResult:
        extracted = self._ctx.vision_adapter.extract(submission=dict(submission), job_payload=dict(self._held.lease.payload))
        self._ctx.usage.take(extracted)
        return OcrResult(returned_text(extracted.text_md), returned_document(extracted.raw_metadata or {}), fingerprint)

    def _call(self, call: Callable[[], T], limit_seconds: float) -> T:
        self._held.count_call(Counter.VISION_CALLS)
        return self._calls.call(Step.VISION, call, limit_seconds=limit_seconds)

    def _commit(self, ocr: OcrResult) -> None:
        """Commits the whole text. The permit is given back in the same round trip."""
        lease, usage = self._held.lease, self._ctx.usage.for_checkpoint()
        self._held.finish_step(
            feedback_limit_seconds(self._ctx.settings),
            lambda connection, lease_seconds, permit: write_checkpoint(connection, lease, ocr, lease_seconds, permit, usage),
        )
        self._calls.page_committed()
        self._ctx.usage.written(usage, lease.job_id)


def report_doubt(ctx: WorkerContext, lease: Lease, grade: PageGrade) -> None:
    ctx.report.send(
        EventKind.PAGE_DOUBTFUL,
        job_id=lease.job_id,
        submission_id=lease.submission_id,
        error_class=",".join(grade.reasons),
        step=Step.VISION,
        page=grade.page,
    )


@dataclass(slots=True)
class _Reading:
    """The texts of a document's first pages, with their grades. The first `written` of them have a checkpoint.

    A page that was committed by an older version of this program has no grade.
    """

    texts: list[str]
    grades: list[PageGrade]
    fingerprint: str
    written: int

    @property
    def unwritten(self) -> list[OcrPage]:
        return pages_after(self.written, self.texts, self.grades, self.fingerprint)


def _unasked_text(pages: Any, page: Any) -> str | None:
    """Text of a page for which no model needs to be asked. An adapter without `unasked_text` asks for every page."""
    unasked_text = getattr(pages, "unasked_text", None)
    text = None if unasked_text is None else unasked_text(page)
    return None if text is None else returned_text(text)


def _continuation(before: str, text: str, page: Any) -> str:
    """The text of a page without what the page before has too. It is removed before the page is committed."""
    return joining.without_repeated(before, text) if Note.OVERLAP in getattr(page, "notes", ()) else text


def _max_pages(submission: Submission, settings: WorkerSettings) -> int:
    """Upper bound of the requests in one call. For a PDF of unknown length it is MAX_PDF_PAGES."""
    if submission["kind"] != "file":
        return 1
    return min(len(page_keys(submission)), settings.max_pdf_pages) or settings.max_pdf_pages
