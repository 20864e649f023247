"""The steps of one job: read, vision, feedback. Whatever ends a job early is raised as Ended with the outcome."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from worker.adapters.loading import accepted
from worker.contract import Counter, EventKind, Phase, StepName
from worker.core import checkpoint
from worker.core.job import (
    AlreadyFinal,
    Completed,
    ErrorCode,
    Failed,
    Lost,
    Outcome,
    Payload,
    Stage,
    parse_payload,
    quarantine,
    storable,
)
from worker.core.pages import page_keys
from worker.core.retry import Kind, RetryPolicy, failure_of, outcome_of
from worker.held_lease import STATEMENT_PROMISE_SECONDS, Ended, HeldLease, Workplace
from worker.job_queue.checkpoint import Reading, write_checkpoint
from worker.job_queue.submission import read_submission
from worker.session import LeaseRanOut
from worker.settings import WorkerSettings, silence_seconds

FETCH_SECONDS = 15.0  # for the file itself and for rendering it, before the first page is read
_FINAL = frozenset({"completed", "failed"})

Answer = TypeVar("Answer")
Submission = Mapping[str, Any]


class Steps:
    """One job, from its leased row to its outcome."""

    def __init__(self, place: Workplace, held: HeldLease) -> None:
        self._place, self._held, self._lease = place, held, held.lease

    def run(self) -> Outcome:
        """Every job has exactly one outcome."""
        try:
            payload = self._payload()
            submission = self._read(payload)
            text_md = self._text(payload, submission)
            return self._feedback(payload, text_md)
        except Ended as ended:
            return ended.outcome
        except LeaseRanOut:
            return Lost()

    def _payload(self) -> Payload:
        payload = parse_payload(self._lease)
        if isinstance(payload, Failed):
            raise Ended(payload)
        if poisoned := quarantine(payload, self._place.settings.worker_max_crashes):
            raise Ended(poisoned)
        return payload

    def _read(self, payload: Payload) -> Submission:
        self._place.report.enter(Phase.READ, STATEMENT_PROMISE_SECONDS)
        with self._timed(StepName.READ):
            row = self._held.ask(lambda c: read_submission(c, self._lease.submission_id, payload.student_sub))
        if row is None:  # hidden by row security, not gone: the foreign key would have taken the job along
            raise Ended(Failed(ErrorCode.VISION_FAILED, "submission_not_visible"))
        if row["analysis_status"] in _FINAL:
            raise Ended(AlreadyFinal())
        return row

    def _text(self, payload: Payload, submission: Submission) -> str:
        """The text as typed, or the checkpoint's, or what the vision model reads now: no picture is read twice."""
        if submission["kind"] == "text":
            return str(storable(submission["text_body"] or ""))
        if checkpoint.is_extracted(payload, submission):
            made_from = ""  # nobody has to be asked what it was made from
        else:
            made_from = self._called(Stage.VISION, lambda: self._origin(submission))
        if checkpoint.is_usable(payload, submission, made_from):
            self._place.report.count(Counter.OCR_REUSED)
            return payload.cached_text_md or ""
        return self._vision(submission, made_from)

    def _origin(self, submission: Submission) -> str:
        """Ours say themselves what a text would be made from; of a foreign adapter we know the module and the model's name."""
        if hasattr(self._place.vision, "origin"):
            return str(self._place.vision.origin(submission))
        settings = self._place.settings
        return checkpoint.origin(str(submission["sha256"]), settings.vision_adapter, settings.ai_vision_model, "")

    def _vision(self, submission: Submission, made_from: str) -> str:
        """Reads all pages and commits the text before anything else happens."""
        settings = self._place.settings
        pages = _page_bound(submission, settings.max_pdf_pages)
        timeout_seconds = settings.ai_timeout_vision
        hard_limit_seconds = FETCH_SECONDS + pages * timeout_seconds + silence_seconds(timeout_seconds)
        self._held.begin(Stage.VISION, hard_limit_seconds, settings.ai_vision_model)
        self._place.report.count(Counter.VISION_CALLS)
        with self._timed(StepName.VISION, settings.ai_vision_model):
            reading = self._called(Stage.VISION, lambda: self._extract(submission, made_from))
        permit, self._held.permit = self._held.permit, None  # goes back with the checkpoint, whatever becomes of that
        self._held.renewing(
            _feedback_limit_seconds(settings),
            lambda connection, seconds: write_checkpoint(connection, self._lease, reading, seconds, permit),
        )
        return reading.text_md

    def _extract(self, submission: Submission, made_from: str) -> Reading:
        result = self._place.vision.extract(submission=dict(submission), job_payload=dict(self._lease.payload))
        return Reading(storable(_of_type(result.text_md, str)), _document(result.raw_metadata or {}), made_from)

    def _feedback(self, payload: Payload, text_md: str) -> Completed:
        settings = self._place.settings
        self._held.begin(Stage.FEEDBACK, _feedback_limit_seconds(settings), settings.ai_feedback_model)
        self._place.report.count(Counter.FEEDBACK_CALLS)
        with self._timed(StepName.FEEDBACK, settings.ai_feedback_model):
            return self._called(Stage.FEEDBACK, lambda: self._analyze(payload, text_md))

    def _analyze(self, payload: Payload, text_md: str) -> Completed:
        analyze = self._place.feedback.analyze
        optional = accepted(analyze, {"instruction_md": payload.instruction_md, "hints_md": payload.hints_md})
        result = analyze(text_md=text_md, criteria=list(payload.criteria), **optional)
        return Completed(text_md, storable(_of_type(result.feedback_md, str)), _document(result.analysis_json))

    def _called(self, stage: Stage, call: Callable[[], Answer]) -> Answer:
        """What an adapter raises becomes the job's outcome. Only its class is told: messages may carry a pupil's text."""
        try:
            return call()
        except Exception as error:
            failure = failure_of(error, stage)
            if failure.kind is Kind.BUG:
                self._place.report.count(Counter.ADAPTER_BUGS)
            self._tell(EventKind.STEP_FAILED, outcome=failure.kind.value, error_class=failure.error_class)
            settings = self._place.settings
            policy = RetryPolicy(
                settings.worker_max_retries, settings.worker_backoff_seconds, settings.worker_max_job_age_seconds
            )
            raise Ended(outcome_of(failure, self._lease, policy)) from error

    @contextmanager
    def _timed(self, step: StepName, model: str = "") -> Iterator[None]:
        started_at_seconds = time.monotonic()
        yield
        self._tell(EventKind.STEP, step=step, model=model, seconds=time.monotonic() - started_at_seconds)

    def _tell(self, kind: EventKind, **details: Any) -> None:
        self._place.report.send(kind, job_id=self._lease.job_id, submission_id=self._lease.submission_id, **details)


def _page_bound(submission: Submission, max_pages: int) -> int:
    """How many requests the vision step may take: a PDF whose pages nobody has counted may have the most that is allowed."""
    if submission["kind"] != "file":
        return 1
    return min(len(page_keys(submission)), max_pages) or max_pages


def _feedback_limit_seconds(settings: WorkerSettings) -> float:
    return settings.ai_timeout_feedback + silence_seconds(settings.ai_timeout_feedback)


def _of_type(value: Answer, kind: type) -> Answer:
    """Raises TypeError, which is a bug of the adapter."""
    if not isinstance(value, kind):
        raise TypeError(f"adapter returned {type(value).__name__} for {kind.__name__}")
    return value


def _document(value: object) -> dict[str, Any]:
    """As PostgreSQL stores it. Raises TypeError for what is no JSON: a bug of the adapter, while it can still be told as one."""
    document: dict[str, Any] = storable(_of_type(value, Mapping))
    json.dumps(document)
    return document
