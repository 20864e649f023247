"""Work of the platform's worker on one job: read, ask the adapters, write."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

import testkit.adapters.platform_practice  # noqa: F401  makes the platform's functions for practice importable
from testkit.platform_worker import queue

MAX_RETRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of the adapters for one submission. `usage` are the answers of models."""

    text_md: str | None
    feedback_md: str
    analysis_json: Mapping[str, Any]
    usage: tuple[Any, ...]


@dataclass(slots=True)
class Desk:
    """Connection and adapters of the worker of one year. `step` is the adapter that was asked last."""

    connection: Connection[DictRow]
    vision: Any
    feedback: Any
    year: int
    backoff_seconds: float
    step: str = "feedback"

    def work_on(self, job: DictRow) -> None:
        """Do the job to its end, or put it back. An exception of another class ends the process."""
        submission = queue.read(self.connection, job)
        if submission is None:
            return queue.delete(self.connection, job)
        try:
            answer = self._ask(submission, job["payload"])
        except Exception as error:  # noqa: BLE001  the platform judges by class name
            return self._give_up(job, error)
        return self._complete(job, answer)

    def _ask(self, submission: DictRow, payload: Mapping[str, Any]) -> Answer:
        self.step = "feedback"
        criteria, mode = payload["criteria"], self._mode(submission, payload)
        if mode == "dialog":
            words = {name: payload[name] for name in ("student_performance", "conversation_context")}
            return _answer(None, self.feedback.analyze_dialog(criteria=criteria, instruction_md="", **words))
        if mode == "visual_direct":
            result = self.feedback.analyze_visual(submission=submission, job_payload=payload, criteria=criteria)
            return _answer(None, result)
        if mode == "text_direct":
            return _answer(submission["text_body"], self.feedback.analyze(text_md=submission["text_body"], criteria=criteria))
        return self._read_and_ask(submission, payload)

    def _read_and_ask(self, submission: DictRow, payload: Mapping[str, Any]) -> Answer:
        """Let the vision adapter read the file. Its text is used again only for a submission that is extracted."""
        cached = payload.get("cached_text_md") if submission["analysis_status"] == "extracted" else None
        self.step = "vision"
        seen: Any = None if cached else self.vision.extract(submission=submission, job_payload=payload)
        self.step = "feedback"
        text_md = cached or seen.text_md
        result = self.feedback.analyze(text_md=text_md, criteria=payload["criteria"])
        return _answer(text_md, result, seen)

    def _mode(self, submission: DictRow, payload: Mapping[str, Any]) -> str:
        by_kind = "text_direct" if submission["kind"] == "text" else "ocr_text"
        return by_kind if self.year == 2025 else str(payload.get("analysis_mode") or by_kind)

    def _complete(self, job: DictRow, answer: Answer) -> None:
        with self.connection.transaction():
            queue.set_subject(self.connection, job)
            if self.year > 2025:
                queue.record(self.connection, job["submission_id"], answer.usage)
            values = [job["submission_id"], answer.text_md, answer.feedback_md, Jsonb(answer.analysis_json)]
            self.connection.execute(queue.COMPLETE, values)
            if "practice_attempt_id" in job["payload"]:
                self._complete_attempt(job, answer)
            queue.delete(self.connection, job)

    def _complete_attempt(self, job: DictRow, answer: Answer) -> None:
        completion = importlib.import_module("backend.learning.practice.completion")
        values = {"analysis_json": answer.analysis_json, "feedback_md": answer.feedback_md}
        completion.complete_worker_practice_attempt(conn=self.connection, submission_id=job["submission_id"], **values)

    def _give_up(self, job: DictRow, error: Exception) -> None:
        """Retry after a transient error, fail the submission after a permanent one."""
        name = type(error).__name__
        with self.connection.transaction():
            if name.endswith("TransientError") and job["retry_count"] < MAX_RETRIES:
                queue.retry(self.connection, job, self.step, str(error), self.backoff_seconds)
            elif name.endswith(("TransientError", "PermanentError")):
                queue.fail(self.connection, job, f"{self.step}_failed", str(error))
            else:
                raise error


def _answer(text_md: str | None, result: Any, seen: Any = None) -> Answer:
    usage = tuple(event for each in (seen, result) if each is not None for event in each.usage_events)
    return Answer(text_md, result.feedback_md, result.analysis_json, usage)
