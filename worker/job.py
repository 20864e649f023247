"""One job: read the submission and its task, vision, feedback. A job that ends early raises JobEnded with its outcome."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar, assert_never

from worker.adapter_calls import AdapterCalls
from worker.adapters import remarks
from worker.context import WorkerContext
from worker.core.abilities import needs_of, obstacle_between
from worker.core.modes import Mode, mode_of
from worker.core.outcome import (
    AlreadyFinal,
    Completed,
    Failed,
    Outcome,
    Payload,
    Released,
    Submission,
    fail_refused,
    has_answer,
    parse_payload,
    quarantine,
    with_usage,
)
from worker.core.refusal import hold
from worker.core.task import NO_TASK, Task, is_read_from_the_table, practice_attempt_of, task_of
from worker.feedback import FeedbackStep
from worker.held_lease import HeldLease, JobEnded
from worker.ipc.contract import Activity, Counter, ErrorCode, Obstacle
from worker.queue.connection import Connection, RowRefused
from worker.queue.sqlstate import is_passing, reason_of, sqlstate_in
from worker.queue.submissions import read_submission
from worker.queue.tasks import read_task
from worker.timeouts import STATEMENT_DEADLINE_SECONDS
from worker.vision import VisionStep
from worker.visual import VisualStep

_UNABLE = Released("held", 2.0, "practice_functions_missing")  # since the lease: the next one passes the job over
_FINAL = frozenset({"completed", "failed"})
T = TypeVar("T")


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
            return payload.answer or self._completed(payload, submission)
        except JobEnded as ended:
            return ended.outcome
        except RowRefused as refusal:
            return hold(reason_of(refusal.sqlstate))  # of a permit, which has no row

    def _payload(self) -> Payload:
        if practice_attempt_of(self._lease.payload) and not self._ctx.abilities_now.has_practice:
            raise JobEnded(_UNABLE)
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
        return self._read(lambda connection: read_submission(connection, self._lease.submission_id, payload.student_sub))

    def _read(self, ask: Callable[[Connection], T]) -> T:
        self._ctx.report.enter_activity(Activity.READ, STATEMENT_DEADLINE_SECONDS)
        with self._calls.timed(Activity.READ):
            return self._held.read(ask)

    def _mode(self, submission: Submission) -> Mode:
        """The job's mode. Raises JobEnded if the submission shows that this instance cannot do the job: then it stays queued."""
        mode, needs = mode_of(self._lease.payload, submission), needs_of(self._lease.payload, submission)
        obstacle = obstacle_between(needs, self._ctx.abilities_now)
        if mode is None or obstacle:
            raise JobEnded(Released("unable", error_class=obstacle or Obstacle.MODE, needs=needs))
        return mode

    def _task(self, payload: Payload, submission: Submission) -> Task:
        """The task, with what the platform's table says of it beyond the payload."""
        row, given = NO_TASK, self._lease.payload
        if is_read_from_the_table(given, self._ctx.platform.context_columns):
            row = self._read(lambda connection: read_task(connection, submission))
        return task_of(given, payload.criteria, row)

    def _completed(self, payload: Payload, submission: Submission) -> Completed:
        mode = self._mode(submission)
        task = self._task(payload, submission)
        feedback = FeedbackStep(self._ctx, self._held, self._calls, task)
        match mode:
            case Mode.DIALOG:
                return feedback.on_dialog(self._lease.payload)
            case Mode.VISUAL_DIRECT if hasattr(self._ctx.feedback_adapter, "visual_pages"):
                return self._with_remark(self._judge_pages(payload, submission, task))
            case Mode.VISUAL_DIRECT:
                return feedback.on_pages(submission)
            case Mode.TEXT_DIRECT | Mode.OCR_TEXT if submission["kind"] == "text":
                return feedback.on_text(str(submission["text_body"] or ""))
            case Mode.TEXT_DIRECT | Mode.OCR_TEXT:
                return self._with_remark(feedback.on_text(self._read_text(payload, submission)))
            case _:
                assert_never(mode)

    def _read_text(self, payload: Payload, submission: Submission) -> str:
        vision = VisionStep(self._ctx, self._held, self._calls)
        text_md = vision.text(payload, submission)
        self._doubtful_pages = tuple(grade.page for grade in vision.grades if grade.is_doubtful)
        return text_md

    def _judge_pages(self, payload: Payload, submission: Submission, task: Task) -> Completed:
        visual = VisualStep(self._ctx, self._held, self._calls, task)
        completed = visual.completed(payload, submission)
        self._doubtful_pages = tuple(grade.page for grade in visual.grades if grade.is_doubtful)
        return completed

    def _with_remark(self, completed: Completed) -> Completed:
        """Adds the doubtful pages to the feedback: the platform's schema of an analysis forbids further keys."""
        remark = remarks.of(self._ctx.settings.ai_prompt_language).doubt(self._doubtful_pages)
        return replace(completed, feedback_md=f"{completed.feedback_md}\n\n{remark}") if remark else completed
