"""Writes feedback with a language model in Ollama."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from worker.adapters import prompts
from worker.adapters.prompts import Assignment
from worker.core import criteria as criteria_v2
from worker.core import ladder
from worker.core.confidential import OMISSION, Confidential
from worker.core.conversation import conversation_of
from worker.core.criteria import CriteriaDocument
from worker.core.errors import ContextQuoted, InvalidDocument
from worker.ollama.call_report import OnCall, ignore_call
from worker.ollama.client import ChatRequest, Ollama, deadline_in
from worker.ollama.deadline import Deadline
from worker.ollama.errors import AnswerTruncated
from worker.ollama.repetition import DOCUMENT_CHARACTERS
from worker.ollama.thinking import thinking
from worker.ollama.token_budget import MAX_DOCUMENT_TOKENS
from worker.ollama.usage import OnUsage, Purpose, ignore_usage
from worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Feedback:
    """Feedback for the pupil, and the criteria.v2 document for the teacher.

    `clamped_scores` counts scores of the model that were out of range.
    """

    feedback_md: str
    analysis_json: Mapping[str, Any]
    parse_status: Literal["parsed", "second_try"]
    clamped_scores: int


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
        hints_md: str | None = None,
        teacher_context_md: str | None = None,
        attempt: int = 0,
    ) -> Feedback:
        """Assess a text. `hints_md` is the earlier name of `teacher_context_md`.

        `attempt`, counted from 0, is the job's rung of the ladder. Raises FeedbackTransientError, FeedbackPermanentError or
        Unavailable.
        """
        return self._assessed(Assignment(text_md, criteria, instruction_md, teacher_context_md or hints_md), attempt)

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
        """Call the model, and a second time if its answer is not a valid document and the time suffices.

        AI_TIMEOUT_FEEDBACK covers both calls.
        """
        started_at_seconds = time.monotonic()
        deadline = deadline_in(self._settings.ai_timeout_feedback)
        try:
            return self._answered(assignment, deadline, attempt, is_second_try=False)
        except (AnswerTruncated, InvalidDocument):
            again = deadline.next_try(time.monotonic())
            if not _has_time(started_at_seconds, again):
                raise
        return self._answered(assignment, again, attempt, is_second_try=True)

    def _answered(self, assignment: Assignment, deadline: Deadline, attempt: int, *, is_second_try: bool) -> Feedback:
        request = self._request(assignment, attempt, is_second_try=is_second_try)
        answer = self._ollama.chat(request, deadline)
        document = _document(answer.text, assignment)
        document = _discreet(document, assignment, may_refuse=attempt == 0 and not is_second_try)
        found = criteria_v2.analysis(document, assignment.criteria)
        status: Literal["parsed", "second_try"] = "second_try" if is_second_try else "parsed"
        return Feedback(document.feedback_md, found.criteria_v2, status, found.clamped_scores)

    def _request(self, assignment: Assignment, attempt: int, *, is_second_try: bool) -> ChatRequest:
        """Build the request. All begin with the same text, so the server has most of a second one in its cache."""
        rung = ladder.rung(attempt)
        user_text = self._prompts.user_text(assignment, is_second_try or rung.is_strict, rung.is_smaller)
        model, count = self._settings.ai_feedback_model, len(assignment.criteria)
        thought = thinking(model, self._settings.ai_think_level)
        return ChatRequest(
            model=model,
            messages=(
                {"role": "system", "content": self._prompts.system_text(assignment)},
                {"role": "user", "content": user_text},
            ),
            options=self._settings.model_options("feedback"),
            max_tokens=MAX_DOCUMENT_TOKENS + thought.tokens,
            repetition_limit_characters=DOCUMENT_CHARACTERS,
            document_schema=criteria_v2.document_schema(count),
            think=thought.think,
            temperature=rung.temperature,
            seed=ladder.seed(attempt, is_second_try=is_second_try),
            purpose=Purpose("feedback", "repair" if is_second_try else "primary" if count else "no_criteria"),
        )


def _document(text: str, assignment: Assignment) -> CriteriaDocument:
    """Parse an answer. About a conversation it must be exact, as the platform requires."""
    is_exact = isinstance(assignment.work, tuple)
    try:
        return criteria_v2.parse(text, len(assignment.criteria), is_exact=is_exact)
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
    may_leave = settings.ai_send_pupils_work_to_cloud
    ollama = Ollama(settings.ollama_base_url, on_progress, on_call, on_usage=on_usage, may_leave_the_house=may_leave)
    return FeedbackWriter(settings, ollama)
