"""Judges a submission's pages as pictures, without a text. Each assessment is committed before a model judges the next page.

The vision model judges, so its permit is taken and its gate is passed. A failure is one of feedback.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from worker.adapter_calls import AdapterCalls, returned_document, returned_text
from worker.adapters.visual import visual_assignment
from worker.context import WorkerContext
from worker.core import checkpoint
from worker.core.doubt import PageGrade, ReadPage, grade_of
from worker.core.outcome import Completed, Payload, Submission
from worker.core.refusal import Access
from worker.core.task import Task
from worker.held_lease import HeldLease, PageWrite
from worker.ipc.contract import Activity, Counter, Step
from worker.queue.checkpoints import pages_after, write_pages
from worker.queue.usage import UsageWrite
from worker.timeouts import READ_DEADLINE_SECONDS, next_page_limit_seconds, page_limit_seconds
from worker.vision import report_doubt

T = TypeVar("T")


@dataclass(slots=True)
class _Judged:
    """Assessments up to each page of a document, with the pages' grades. The first `written` of them have a checkpoint."""

    assessments: list[str] = field(default_factory=list)
    grades: list[PageGrade] = field(default_factory=list)
    written: int = 0


class VisualStep:
    """Judges page by page, with a feedback adapter that has `visual_pages`, as the one for Ollama."""

    def __init__(self, ctx: WorkerContext, held: HeldLease, calls: AdapterCalls, task: Task) -> None:
        self._ctx, self._held, self._calls = ctx, held, calls
        self._adapter = ctx.feedback_adapter
        self._assignment = visual_assignment(list(task.criteria), task.instruction_md, task.teacher_context_md)
        self._fingerprint = ""
        self.grades: tuple[PageGrade, ...] = ()

    def completed(self, payload: Payload, submission: Submission) -> Completed:
        """Start at the first page without a checkpoint."""
        judged = self._checkpoint(payload, submission)
        with ExitStack() as stack:
            pages = self._open(stack, submission, judged)
            if len(judged.assessments) >= pages.total:  # the last page has no checkpoint, so these are of another document
                judged = _Judged()
                pages = self._open(stack, submission, judged)
            if pages.total > 1:
                self._fingerprint_of(submission)  # before the first call, whose answer a server that fails now would cost
            self._ctx.report.count(Counter.PAGES_REUSED, judged.written)
            while len(judged.assessments) < pages.total:
                self._next(pages, judged, submission)
            feedback = self._ask(lambda: self._adapter.visual_feedback(pages))
        self.grades = tuple(judged.grades)
        self._ctx.report.count(Counter.REASONS_MISSING, feedback.missing_reasons)
        return Completed(None, returned_text(feedback.feedback_md), returned_document(feedback.analysis_json))

    def _checkpoint(self, payload: Payload, submission: Submission) -> _Judged:
        """The committed assessments. The model's digest is looked up only for a document that has some, or has several pages."""
        if not payload.cached_pages:
            return _Judged()
        texts = checkpoint.usable_pages(payload, self._fingerprint_of(submission))
        return _Judged(list(texts), [each for each in payload.cached_page_grades if each.page <= len(texts)], len(texts))

    def _fingerprint_of(self, submission: Submission) -> str:
        if not self._fingerprint:
            self._ctx.report.enter_activity(Activity.READ, READ_DEADLINE_SECONDS)
            self._fingerprint = self._ask(lambda: self._adapter.visual_fingerprint(submission, self._assignment))
        return self._fingerprint

    def _open(self, stack: ExitStack, submission: Submission, judged: _Judged) -> Any:
        self._ctx.report.enter_activity(Activity.READ, READ_DEADLINE_SECONDS)
        assessment = judged.assessments[-1] if judged.assessments else ""
        first_page = len(judged.assessments) + 1
        opening = self._adapter.visual_pages(submission, self._assignment, first_page, assessment, self._calls.attempts)
        return self._ask(lambda: stack.enter_context(opening))

    def _next(self, pages: Any, judged: _Judged, submission: Submission) -> None:
        """Judge one page, and commit it if more pages follow: at once if a model was called for it, else when it is time."""
        page = self._ask(pages.next_page)
        needs_model = pages.needs_model(page)
        if needs_model:
            self._call(pages, page, is_last=len(judged.assessments) + 1 == pages.total)
        self._add(judged, pages.assessment, page)
        if len(judged.assessments) == pages.total:
            return
        usage = self._ctx.usage.for_checkpoint()
        write = self._writing(judged, submission, usage)
        if needs_model:
            self._held.continue_step(next_page_limit_seconds(self._ctx.settings), write)
            self._ctx.report.enter_activity(Activity.READ, READ_DEADLINE_SECONDS)
        elif not self._held.continue_reading(write):
            return
        judged.written = len(judged.assessments)
        self._calls.page_committed()
        self._ctx.usage.written(usage, self._held.lease.job_id)

    def _call(self, pages: Any, page: Any, *, is_last: bool) -> None:
        """The answer about the last page is the result, which is settled at once. The others are checkpoints."""
        settings, access = self._ctx.settings, Access.RESULT if is_last else Access.CHECKPOINT
        self._held.start_step(Step.VISION, page_limit_seconds(settings), settings.ai_vision_model, access, has_text=not is_last)
        self._held.count_call(Counter.VISION_CALLS)
        self._calls.call(Step.VISION, lambda: pages.judge(page), Step.FEEDBACK)

    def _ask(self, ask: Callable[[], T]) -> T:
        return self._calls.ask(Step.VISION, ask, Step.FEEDBACK)

    def _add(self, judged: _Judged, assessment: str, page: Any) -> None:
        grade = grade_of(len(judged.assessments) + 1, ReadPage(tuple(map(str, page.notes)), has_text=True))
        judged.assessments.append(assessment)
        judged.grades.append(grade)
        if grade.is_doubtful:
            report_doubt(self._ctx, self._held.lease, grade)

    def _writing(self, judged: _Judged, submission: Submission, usage: UsageWrite) -> PageWrite:
        """The write of the pages without a checkpoint."""
        pages = pages_after(judged.written, judged.assessments, judged.grades, self._fingerprint_of(submission))
        return lambda connection, lease_seconds: write_pages(connection, self._held.lease, pages, lease_seconds, usage)
