"""The vision step: the text of a submission's pages, each committed before the next is asked for."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from worker.adapter_calls import AdapterCalls
from worker.core import checkpoint, result
from worker.core.outcome import Payload
from worker.core.pages import page_keys
from worker.ipc.contract import Activity, Counter, Step
from worker.lease import HeldLease, WorkerContext
from worker.queue.checkpoints import OcrPage, OcrResult, write_checkpoint, write_page
from worker.settings import WorkerSettings
from worker.timeouts import READ_DEADLINE_SECONDS, feedback_limit_seconds, page_limit_seconds

FOREIGN_FETCH_SECONDS = 15.0  # what an adapter that does all in one call may take beside its requests

Answer = TypeVar("Answer")
Submission = Mapping[str, Any]


class VisionStep:
    """Our own adapter reads page by page. One of another package does all pages in one call, of which nothing is kept before."""

    def __init__(self, ctx: WorkerContext, held: HeldLease, calls: AdapterCalls) -> None:
        self._ctx, self._held, self._calls = ctx, held, calls

    def text(self, payload: Payload, submission: Submission) -> str:
        """The checkpoint's text, or what the vision model reads now: no page is read twice."""
        fingerprint = self._origin(payload, submission)
        if checkpoint.is_usable(payload, submission, fingerprint):
            self._ctx.report.count(Counter.OCR_REUSED)
            return payload.cached_text_md or ""
        if hasattr(self._ctx.vision, "pages"):
            reading = self._by_pages(payload, submission, fingerprint)
        else:
            reading = self._in_one_call(submission, fingerprint)
        self._commit(reading)
        return reading.text_md

    def _origin(self, payload: Payload, submission: Submission) -> str:
        """Ours say themselves what a text would be made from; of a foreign adapter we know the module and the model's name."""
        if checkpoint.is_extracted(payload, submission):
            return ""  # nobody has to be asked what it was made from
        self._ctx.report.enter(Activity.READ, READ_DEADLINE_SECONDS)
        if hasattr(self._ctx.vision, "origin"):
            return self._calls.ask(Step.VISION, lambda: str(self._ctx.vision.origin(submission)))
        settings = self._ctx.settings
        return checkpoint.origin(str(submission["sha256"]), settings.vision_adapter, settings.ai_vision_model, "")

    def _by_pages(self, payload: Payload, submission: Submission, fingerprint: str) -> OcrResult:
        """The file is fetched and its first picture made before a permit is taken, from the page on that nobody has read."""
        texts = list(checkpoint.usable_pages(payload, fingerprint))
        with ExitStack() as stack:
            pages = self._opened(stack, submission, len(texts) + 1)
            if len(texts) >= pages.total:  # the last page is not kept as one of several: these are of other pages
                texts.clear()
                pages = self._opened(stack, submission, 1)
            self._ctx.report.count(Counter.PAGES_REUSED, len(texts))
            picture = self._calls.ask(Step.VISION, pages.next_picture)
            self._begin(None)
            texts.append(self._read(pages, picture))
            while len(texts) < pages.total:
                self._begin(OcrPage(len(texts), texts[-1], fingerprint))
                picture = self._calls.ask(Step.VISION, pages.next_picture)
                texts.append(self._read(pages, picture))
        return OcrResult("\n\n".join(texts), pages.metadata(), fingerprint)

    def _opened(self, stack: ExitStack, submission: Submission, first_page: int) -> Any:
        self._ctx.report.enter(Activity.READ, READ_DEADLINE_SECONDS)
        opening = self._ctx.vision.pages(submission, first_page=first_page)
        return self._calls.ask(Step.VISION, lambda: stack.enter_context(opening))

    def _read(self, pages: Any, picture: bytes) -> str:
        return self._call(lambda: result.text(pages.read(picture)))

    def _begin(self, before: OcrPage | None) -> None:
        """The page before is committed in the round trip that renews the lease for the next one."""
        settings = self._ctx.settings
        step = Step.VISION, page_limit_seconds(settings), settings.ai_vision_model
        if before is None:
            self._held.begin(*step)
        else:
            self._held.go_on(*step, lambda connection, seconds: write_page(connection, self._held.lease, before, seconds))

    def _in_one_call(self, submission: Submission, fingerprint: str) -> OcrResult:
        settings = self._ctx.settings
        hard_limit_seconds = FOREIGN_FETCH_SECONDS + _page_bound(submission, settings) * page_limit_seconds(settings)
        self._held.begin(Step.VISION, hard_limit_seconds, settings.ai_vision_model)
        return self._call(lambda: self._extract(submission, fingerprint))

    def _extract(self, submission: Submission, fingerprint: str) -> OcrResult:
        extracted = self._ctx.vision.extract(submission=dict(submission), job_payload=dict(self._held.lease.payload))
        return OcrResult(result.text(extracted.text_md), result.document(extracted.raw_metadata or {}), fingerprint)

    def _call(self, call: Callable[[], Answer]) -> Answer:
        self._held.count_call(Counter.VISION_CALLS)
        with self._calls.timed(Activity.VISION):
            return self._calls.ask(Step.VISION, call)

    def _commit(self, reading: OcrResult) -> None:
        """The permit goes back with the text, whatever becomes of it."""
        permit, self._held.permit = self._held.permit, None
        self._held.write(
            feedback_limit_seconds(self._ctx.settings),
            lambda connection, seconds: write_checkpoint(connection, self._held.lease, reading, seconds, permit),
        )


def _page_bound(submission: Submission, settings: WorkerSettings) -> int:
    """How many requests one call may take: a PDF whose pages nobody has counted may have the most that is allowed."""
    if submission["kind"] != "file":
        return 1
    return min(len(page_keys(submission)), settings.max_pdf_pages) or settings.max_pdf_pages
