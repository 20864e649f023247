"""The feedback step: judges a text, the pages themselves, or a conversation. Each is one call of the feedback adapter.

Pages are judged by the vision model. Such a call takes that model's permit and passes its gate, but it fails as feedback.
"""

from collections.abc import Mapping
from typing import Any

from worker.adapter_calls import AdapterCalls, returned_document, returned_text
from worker.adapters.loading import ATTEMPT, TEACHER_CONTEXT, options_of
from worker.context import WorkerContext
from worker.core.outcome import Completed, Submission
from worker.core.refusal import Access
from worker.core.task import Task
from worker.held_lease import HeldLease
from worker.ipc.contract import Counter, Step
from worker.ollama.errors import EmptyAnswer
from worker.timeouts import feedback_limit_seconds


class FeedbackStep:
    """Calls the adapter by the signature of its method: an option that it does not name is not given."""

    def __init__(self, ctx: WorkerContext, held: HeldLease, calls: AdapterCalls, task: Task) -> None:
        self._ctx, self._held, self._calls, self._task = ctx, held, calls, task

    def on_text(self, text_md: str) -> Completed:
        """The feedback on a text that was typed or read."""
        self._start(has_text=True)
        return self._calls.call(Step.FEEDBACK, lambda: self._judged("analyze", text_md, {"text_md": text_md}))

    def on_pages(self, submission: Submission) -> Completed:
        """The feedback on a picture or document, without a text in between."""
        settings = self._ctx.settings
        limit_seconds = feedback_limit_seconds(settings)
        self._held.start_step(Step.VISION, limit_seconds, settings.ai_vision_model, Access.RESULT, has_text=False)
        self._held.count_call(Counter.VISION_CALLS)
        given = {"submission": dict(submission), "job_payload": dict(self._held.lease.payload)}
        return self._calls.call(Step.VISION, lambda: self._judged("analyze_visual", None, given), Step.FEEDBACK)

    def on_dialog(self, payload: Mapping[str, Any]) -> Completed:
        """The feedback on a pupil's part of a conversation. The platform's adapter takes no teacher's context for it."""
        self._start(has_text=False)
        given = {
            "student_performance": payload.get("student_performance") or {},
            "conversation_context": payload.get("conversation_context") or {},
            "instruction_md": self._task.instruction_md or "",
        }
        return self._calls.call(Step.FEEDBACK, lambda: self._judged("analyze_dialog", None, given))

    def _start(self, *, has_text: bool) -> None:
        settings = self._ctx.settings
        limit_seconds = feedback_limit_seconds(settings)
        self._held.start_step(Step.FEEDBACK, limit_seconds, settings.ai_feedback_model, has_text=has_text)
        self._held.count_call(Counter.FEEDBACK_CALLS)

    def _judged(self, method: str, text_md: str | None, given: Mapping[str, Any]) -> Completed:
        arguments = {**self._options(method), **given, "criteria": list(self._task.criteria)}
        feedback = getattr(self._ctx.feedback_adapter, method)(**arguments)
        self._ctx.usage.take(feedback)
        self._ctx.report.count(Counter.REASONS_MISSING, getattr(feedback, "missing_reasons", 0))
        return Completed(text_md, _shown(returned_text(feedback.feedback_md)), returned_document(feedback.analysis_json))

    def _options(self, method: str) -> dict[str, Any]:
        task = self._task
        offered = {
            "instruction_md": task.instruction_md,
            TEACHER_CONTEXT: task.teacher_context_md,
            "hints_md": task.teacher_context_md,
            ATTEMPT: self._calls.attempts,
        }
        return {name: offered[name] for name in options_of(self._ctx.feedback_adapter, method)}


def _shown(feedback_md: str) -> str:
    """The feedback. Raises EmptyAnswer for a blank one, which the pupil would see as an empty page."""
    if not feedback_md.strip():
        raise EmptyAnswer("no text")
    return feedback_md
