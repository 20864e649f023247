"""One job: read the submission, vision, feedback. A job that ends early raises JobEnded with its outcome."""

from collections.abc import Mapping
from typing import Any

from worker.adapter_calls import AdapterCalls, returned_document, returned_text
from worker.adapters import remarks
from worker.adapters.loading import ATTEMPT
from worker.context import WorkerContext
from worker.core.outcome import (
    AlreadyFinal,
    Completed,
    Failed,
    Outcome,
    Payload,
    Submission,
    fail_refused,
    has_answer,
    parse_payload,
    quarantine,
    storable,
    with_usage,
)
from worker.core.refusal import hold
from worker.held_lease import HeldLease, JobEnded
from worker.ipc.contract import Activity, Counter, ErrorCode, Step
from worker.queue.connection import RowRefused
from worker.queue.sqlstate import is_passing, reason_of, sqlstate_in
from worker.queue.submissions import read_submission
from worker.timeouts import STATEMENT_DEADLINE_SECONDS, feedback_limit_seconds
from worker.vision import VisionStep

_FINAL = frozenset({"completed", "failed"})


class Job:
    """One job, from its leased row to its outcome."""

    def __init__(self, ctx: WorkerContext, held: HeldLease, refused_before: str | None = None) -> None:
        """`refused_before` is the SQLSTATE with which the database has refused this job's result to this worker."""
        self._ctx, self._held, self._lease = ctx, held, held.lease
        self._refused_before = refused_before
        self._calls = AdapterCalls(ctx, held.lease)
        self._doubtful_pages: tuple[int, ...] = ()
        self.seconds: Mapping[Activity, float] = self._calls.seconds  # of each step that succeeded

    def run(self) -> Outcome:
        """Every job has exactly one outcome, with the usage that no checkpoint has recorded. Raises LeaseRanOut."""
        self._ctx.usage.begin()
        outcome = self._outcome()
        return with_usage(outcome, self._ctx.usage.events)

    def _outcome(self) -> Outcome:
        try:
            payload = self._payload()
            submission = self._submission(payload)
            return payload.answer or self._feedback(payload, self._text(payload, submission))
        except JobEnded as ended:
            return ended.outcome
        except RowRefused as refusal:
            return hold(reason_of(refusal.sqlstate))  # of a permit, which has no row

    def _payload(self) -> Payload:
        payload = parse_payload(self._lease)
        if isinstance(payload, Failed):
            raise JobEnded(payload)
        if payload.answer:
            self._ctx.usage.add(*payload.answer.usage)
        if quarantined := quarantine(payload, self._ctx.settings.worker_max_crashes):
            raise JobEnded(quarantined)
        return payload

    def _submission(self, payload: Payload) -> Submission:
        row = self._lease.submission or self._read_submission(payload)
        if row is None:  # hidden by row security: if it were deleted, the foreign key would have deleted the job too
            raise JobEnded(Failed(ErrorCode.VISION_FAILED, "submission_not_visible"))
        if row["analysis_status"] in _FINAL:
            raise JobEnded(AlreadyFinal())
        self._ctx.report.count(Counter.SUBMISSIONS_READ)
        self._end_parked()
        return row

    def _end_parked(self) -> None:
        """Ends a job whose end the database has refused before, without another call to a model.

        A lock or a slow statement may be over by now. An answer in the payload is tried again, because that is no call either.
        """
        refused_before = None if has_answer(self._lease) else self._refused_before
        sqlstate = sqlstate_in(self._lease.error_code) or refused_before
        if sqlstate and not is_passing(sqlstate):
            raise JobEnded(fail_refused(self._lease, reason_of(sqlstate)))

    def _read_submission(self, payload: Payload) -> Submission | None:
        """A round trip of its own, for the first job after a pause, which was leased without its submission."""
        self._ctx.report.enter_activity(Activity.READ, STATEMENT_DEADLINE_SECONDS)
        with self._calls.timed(Activity.READ):
            return self._held.read(lambda c: read_submission(c, self._lease.submission_id, payload.student_sub))

    def _text(self, payload: Payload, submission: Submission) -> str:
        """The typed text, or the text that the vision step reads."""
        if submission["kind"] == "text":
            return str(storable(submission["text_body"] or ""))
        vision = VisionStep(self._ctx, self._held, self._calls)
        text_md = vision.text(payload, submission)
        self._doubtful_pages = tuple(grade.page for grade in vision.grades if grade.is_doubtful)
        return text_md

    def _feedback(self, payload: Payload, text_md: str) -> Completed:
        settings = self._ctx.settings
        self._held.start_step(Step.FEEDBACK, feedback_limit_seconds(settings), settings.ai_feedback_model)
        self._held.count_call(Counter.FEEDBACK_CALLS)
        return self._calls.call(Step.FEEDBACK, lambda: self._analyze(payload, text_md))

    def _analyze(self, payload: Payload, text_md: str) -> Completed:
        given = {"instruction_md": payload.instruction_md, "hints_md": payload.hints_md, ATTEMPT: self._calls.attempts}
        optional: dict[str, Any] = {name: given[name] for name in self._ctx.feedback_options}
        feedback = self._ctx.feedback_adapter.analyze(text_md=text_md, criteria=list(payload.criteria), **optional)
        self._ctx.usage.take(feedback)
        self._ctx.report.count(Counter.SCORES_CLAMPED, getattr(feedback, "clamped_scores", 0))
        feedback_md = self._with_remark(returned_text(feedback.feedback_md))
        return Completed(text_md, feedback_md, returned_document(feedback.analysis_json))

    def _with_remark(self, feedback_md: str) -> str:
        """Adds the doubtful pages to the feedback: the platform's schema of an analysis forbids further keys."""
        remark = remarks.of(self._ctx.settings.ai_prompt_language).doubt(self._doubtful_pages)
        return f"{feedback_md}\n\n{remark}" if remark else feedback_md
