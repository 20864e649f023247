"""Writes feedback with a language model in Ollama, or on pictures with a vision model."""

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from worker.adapters import prompts, remarks
from worker.adapters.prompts import Assignment, Picture
from worker.adapters.visual import VisualPages, visual_assignment
from worker.core import checkpoint, ladder
from worker.core import criteria as criteria_v2
from worker.core.confidential import OMISSION, Confidential
from worker.core.conversation import conversation_of
from worker.core.criteria import CriteriaDocument
from worker.core.errors import ContextQuoted, InvalidDocument
from worker.core.page_size import PAGES_VERSION
from worker.documents.decoder import smaller
from worker.documents.storage import page_keys
from worker.documents.submitted import Submitted
from worker.ollama.call_report import OnCall, failures_reported, ignore_call
from worker.ollama.client import ChatRequest, Ollama, deadline_in
from worker.ollama.deadline import Deadline
from worker.ollama.errors import AnswerTruncated
from worker.ollama.repetition import DOCUMENT_CHARACTERS
from worker.ollama.thinking import thinking
from worker.ollama.token_budget import MAX_DOCUMENT_TOKENS
from worker.ollama.usage import OnUsage, Purpose, ignore_usage
from worker.settings import WorkerSettings

ParseStatus = Literal["parsed", "second_try"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """Feedback for the pupil, and the criteria.v2 document for the teacher.

    `missing_reasons` counts scores for which the model gave no reason.
    """

    feedback_md: str
    analysis_json: Mapping[str, Any]
    parse_status: ParseStatus
    missing_reasons: int


class FeedbackWriter:
    """The feedback adapter of AI_BACKEND=local."""

    def __init__(self, settings: WorkerSettings, ollama: Ollama) -> None:
        self._settings, self._ollama = settings, ollama
        self._prompts = prompts.of(settings.ai_prompt_language)

    def analyze(
        self,
        *,
        text_md: str,
        criteria: Sequence[str],
        instruction_md: str | None = None,
        teacher_context_md: str | None = None,
        attempt: int = 0,
    ) -> Feedback:
        """Assess a text. `attempt`, counted from 0, is the job's rung of the ladder.

        Raises FeedbackTransientError, FeedbackPermanentError or Unavailable.
        """
        return self._assessed(Assignment(text_md, criteria, instruction_md, teacher_context_md), attempt)

    def analyze_dialog(
        self,
        *,
        student_performance: Mapping[str, Any],
        conversation_context: Mapping[str, Any],
        criteria: Sequence[str],
        instruction_md: str = "",
        attempt: int = 0,
    ) -> Feedback:
        """Assess the pupil's words in a conversation, of which the assistant's words are context. Raises as `analyze` does."""
        conversation = conversation_of(student_performance, conversation_context)
        return self._assessed(Assignment(conversation, criteria, instruction_md or None, None), attempt)

    def _assessed(self, assignment: Assignment, attempt: int) -> Feedback:
        """AI_TIMEOUT_FEEDBACK covers both tries."""
        document, status = self._judged(assignment, deadline_in(self._settings.ai_timeout_feedback), attempt)
        return self._feedback(document, assignment.criteria, status)

    def _feedback(self, document: CriteriaDocument, criteria: Sequence[str], status: ParseStatus) -> Feedback:
        no_reason = remarks.of(self._settings.ai_prompt_language).no_reason
        found = criteria_v2.analysis(document, criteria, no_reason)
        return Feedback(document.feedback_md, found.criteria_v2, status, found.missing_reasons)

    def _judged(
        self, assignment: Assignment, deadline: Deadline, attempt: int, picture: bytes = b""
    ) -> tuple[CriteriaDocument, ParseStatus]:
        """Call the model, and a second time if its answer is not a valid document and the time suffices."""
        started_at_seconds = time.monotonic()
        try:
            return self._answered(assignment, deadline, attempt, picture, is_second_try=False), "parsed"
        except (AnswerTruncated, InvalidDocument):
            again = deadline.next_try(time.monotonic())
            if not _has_time(started_at_seconds, again):
                raise
        return self._answered(assignment, again, attempt, picture, is_second_try=True), "second_try"

    def _answered(
        self, assignment: Assignment, deadline: Deadline, attempt: int, picture: bytes, *, is_second_try: bool
    ) -> CriteriaDocument:
        request = self._request(assignment, attempt, picture, is_second_try=is_second_try)
        answer = self._ollama.chat(request, deadline)
        document = _document(answer.text, assignment)
        return _discreet(document, assignment, may_refuse=attempt == 0 and not is_second_try)

    def _request(self, assignment: Assignment, attempt: int, picture: bytes, *, is_second_try: bool) -> ChatRequest:
        """Build the request. All begin with the same text, so the server has most of a second one in its cache."""
        rung, settings = ladder.rung(attempt), self._settings
        model = settings.ai_vision_model if picture else settings.ai_feedback_model
        thought = thinking(model, settings.ai_think_level)
        return ChatRequest(
            model=model,
            messages=self._messages(assignment, rung, picture, is_strict=is_second_try or rung.is_strict),
            options=settings.model_options("vision" if picture else "feedback"),
            max_tokens=MAX_DOCUMENT_TOKENS + thought.tokens,
            repetition_limit_characters=DOCUMENT_CHARACTERS,
            document_schema=criteria_v2.document_schema(len(assignment.criteria)),
            think=thought.think,
            temperature=rung.temperature,
            seed=ladder.seed(attempt, is_second_try=is_second_try),
            purpose=Purpose("feedback", "repair" if is_second_try else "primary" if assignment.criteria else "no_criteria"),
        )

    def _messages(
        self, assignment: Assignment, rung: ladder.Rung, picture: bytes, *, is_strict: bool
    ) -> tuple[Mapping[str, Any], ...]:
        """A text is reworded on the rung on which a picture is made smaller."""
        is_reworded = rung.is_reworded if picture else rung.is_smaller
        user_text = self._prompts.user_text(assignment, is_strict, is_reworded)
        images = {"images": [base64.b64encode(picture).decode()]} if picture else {}
        return (
            {"role": "system", "content": self._prompts.system_text(assignment)},
            {"role": "user", "content": user_text, **images},
        )


class VisualFeedbackWriter(FeedbackWriter):
    """The same with a vision model that can judge a picture, for pages that are judged and not read."""

    def __init__(self, settings: WorkerSettings, ollama: Ollama, on_call: OnCall = ignore_call) -> None:
        super().__init__(settings, ollama)
        self._on_call, self._submitted = on_call, Submitted(settings, takes_own_text=False)
        self._digest: str | None = None

    def analyze_visual(
        self,
        *,
        submission: Mapping[str, Any],
        job_payload: Mapping[str, Any],  # noqa: ARG002  the interface
        criteria: Sequence[str],
        instruction_md: str | None = None,
        teacher_context_md: str | None = None,
        attempt: int = 0,
    ) -> Feedback:
        """Assess all pages in one call. A worker calls `visual_pages` instead, so that each page can be committed."""
        assignment = visual_assignment(criteria, instruction_md, teacher_context_md)
        with self.visual_pages(submission, assignment, attempt=attempt) as pages:
            for _ in range(pages.total):
                page = pages.next_page()
                if pages.needs_model(page):
                    pages.judge(page)
            return self.visual_feedback(pages)

    @contextmanager
    def visual_pages(
        self,
        submission: Mapping[str, Any],
        assignment: Assignment,
        first_page: int = 1,
        assessment: str = "",
        attempt: int = 0,
    ) -> Iterator[VisualPages]:
        """Open the pages from `first_page` on. `assessment` is that of the pages before.

        Raises VisionTransientError or VisionPermanentError.
        """
        with self._submitted.opened(submission, first_page) as submitted:
            yield VisualPages(submitted, assignment, self._judge_page, first_page, assessment, attempt)

    def visual_feedback(self, pages: VisualPages) -> Feedback:
        """Return the feedback on pages that were all judged."""
        return self._feedback(pages.document(), pages.assignment.criteria, "parsed")

    def visual_fingerprint(self, submission: Mapping[str, Any], assignment: Assignment) -> str:
        """Return the fingerprint of an assessment that is made now. It covers the whole request.

        A failure is reported as one of a call, so that the monitor learns of a server that fails before the first page.
        """
        model = self._settings.ai_vision_model
        with failures_reported(self._on_call):
            self._digest = self._digest or self._ollama.digest(model)
        made_by = f"{__name__} {PAGES_VERSION}" + (" rendered" if page_keys(submission) else "")
        sample = replace(assignment, work=Picture(1, 2))
        prompt = self._prompts.system_text(sample) + self._prompts.user_text(sample, is_strict=False)
        return checkpoint.fingerprint(str(submission["sha256"]), made_by, self._digest or model, prompt)

    def _judge_page(self, assignment: Assignment, picture: bytes, attempt: int) -> CriteriaDocument:
        """AI_TIMEOUT_VISION covers both tries for a page."""
        shown = smaller(picture) if ladder.rung(attempt).is_smaller else picture
        document, _ = self._judged(assignment, deadline_in(self._settings.ai_timeout_vision), attempt, shown)
        return document


def _document(text: str, assignment: Assignment) -> CriteriaDocument:
    """Parse an answer. About a conversation each score needs its reason, as the platform requires."""
    needs_reasons = isinstance(assignment.work, tuple)
    try:
        return criteria_v2.parse(text, len(assignment.criteria), needs_reasons=needs_reasons)
    except criteria_v2.DocumentError as error:
        raise InvalidDocument(str(error)) from None


def _discreet(document: CriteriaDocument, assignment: Assignment, *, may_refuse: bool) -> CriteriaDocument:
    """Return the document without quotations of the confidential context.

    The first one is refused, so that another answer has none. Later ones lose their quotations, because a pupil's own words may
    be those of a model solution, and no job fails for that. Raises ContextQuoted, also if no feedback is left.
    """
    context = Confidential.of(assignment.teacher_context_md, assignment.known_texts)
    texts = (document.feedback_md, *(judgement.explanation_md for judgement in document.judgements))
    if not any(map(context.is_quoted_in, texts)):
        return document
    feedback_md = context.removed_from(document.feedback_md)
    if may_refuse or not any(letter.isalnum() for letter in feedback_md.replace(OMISSION, "")):
        raise ContextQuoted("quotes the context")
    judgements = (replace(each, explanation_md=context.removed_from(each.explanation_md)) for each in document.judgements)
    return CriteriaDocument(tuple(judgements), feedback_md)


def _has_time(started_at_seconds: float, again: Deadline) -> bool:
    """Report whether the remaining time is at least as long as the first try took."""
    now_seconds = time.monotonic()
    return again.end_at_seconds - now_seconds >= now_seconds - started_at_seconds


def build(
    settings: WorkerSettings,
    on_progress: Callable[[], None],
    on_call: OnCall = ignore_call,
    on_usage: OnUsage = ignore_usage,
) -> FeedbackWriter:
    """A vision model that can only read, as those for text recognition, has no assessment of pictures."""
    may_leave = settings.ai_send_pupils_work_to_cloud
    ollama = Ollama(settings.ollama_base_url, on_progress, on_call, on_usage=on_usage, may_leave_the_house=may_leave)
    if settings.judges_pictures:
        return VisualFeedbackWriter(settings, ollama, on_call)
    return FeedbackWriter(settings, ollama)
