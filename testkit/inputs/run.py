"""Tries all inputs in a real queue with real supervisors, and reads from the database what became of each."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from testkit.inputs.catalogue import REFUSED, STORE_FAULTS, VISION_MODEL, document_of, inputs, mark
from testkit.inputs.environment import InputEnvironment, refusal_code, set_up, supervisor
from testkit.inputs.input import Entered, Input, Place
from testkit.inputs.leaks import leaks
from testkit.inputs.store import object_store
from testkit.results import SubmissionResult, read_results
from testkit.submissions import enter_all
from worker.core.criteria import MAX_SCORE, MAX_TOTAL

PATIENCE_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.03
EXIT_CONFIG = 78
PAGES, KILLED_AT = 20, 19
SPAN: Final = """
    select extract(epoch from min(lease.at))::float8,
        extract(epoch from (select max(result.at) from audit_results as result where result.submission_id = %(id)s))::float8
    from audit_leases as lease where lease.submission_id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one input. `problem` says in which way that is not what it must be; empty if it is."""

    label: str
    outcome: str
    error_code: str | None
    seconds: float | None
    peak_memory_mb: float | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """`vision_calls` were made for a document of `PAGES` pages whose worker was killed while it read page `KILLED_AT`."""

    rows: tuple[Row, ...]
    worker_crashes: int
    vision_calls: int

    @property
    def vision_calls_saved(self) -> int:
        """Against reading all of it again."""
        return KILLED_AT + PAGES - self.vision_calls


def run() -> Trial:
    """All inputs of a place at once, so that each has many others beside it; those that hurt others by themselves."""
    store_faults: dict[str, str] = {}
    with set_up() as environment, object_store(environment.storage_root, store_faults) as store_url:
        rows, vision_calls = [], 0
        for place in Place:
            together = [each for each in inputs() if each.place is place and not each.is_alone]
            alone = [each for each in inputs() if each.place is place and each.is_alone]
            ids = _enter(environment, together, store_faults)
            with supervisor(environment, environment.environment(**environment.files(place, store_url))):
                rows += _finished(environment, together, ids)
                for each in alone:
                    rows += _finished(environment, [each], _enter(environment, [each], store_faults))
                if place is Place.DIRECTORY:
                    vision_calls = _calls_after_a_kill(environment)
        rows += [_refused(environment, label, settings) for label, settings in REFUSED.items()]
        rows.append(_unheard(environment))
        return Trial(tuple(rows), environment.worker_crashes() - 1, vision_calls)


def _enter(environment: InputEnvironment, batch: Sequence[Input], store_faults: dict[str, str]) -> tuple[UUID, ...]:
    """In the queue, with all that is wrong with them, before any worker sees them."""
    ids = enter_all(environment.owner, [each.submission for each in batch], storage_root=environment.storage_root)
    for each, submission_id in zip(batch, ids, strict=True):
        entered = Entered(environment.owner, submission_id, environment.storage_root)
        if each.fault:
            environment.order(each, containing=mark(each.label))
        if each.spoil:
            each.spoil(entered)
        if each.label in STORE_FAULTS:
            store_faults[str(entered.path.relative_to(environment.storage_root))] = STORE_FAULTS[each.label]
    return ids


def _finished(environment: InputEnvironment, batch: Sequence[Input], ids: tuple[UUID, ...]) -> list[Row]:
    """Waits until all are over, or for as long as one can wait."""
    _wait(environment, lambda: all(result.is_final for result in read_results(environment.owner, ids)))
    return [_row(environment, each, result) for each, result in zip(batch, read_results(environment.owner, ids), strict=True)]


def _wait(environment: InputEnvironment, condition: Callable[[], Any]) -> None:
    until_seconds = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < until_seconds:
        environment.look()
        time.sleep(LOOK_AGAIN_SECONDS)


def _row(environment: InputEnvironment, given: Input, result: SubmissionResult) -> Row:
    began, ended = environment.owner.execute(SPAN, {"id": result.submission_id}).fetchone() or (None, None)
    if began is None or ended is None:
        return Row(given.label, result.status, result.error_code, None, None, "lost")
    peaks = [peak for pid in set(result.worker_pids) if (peak := environment.memory.peak_mb(pid, began, ended))]
    return Row(
        given.label,
        result.status,
        result.error_code,
        round(ended - began, 3),
        max(peaks, default=None),
        _problem(environment, given, result),
    )


def _problem(environment: InputEnvironment, given: Input, result: SubmissionResult) -> str:
    if (result.status, result.error_code) != (given.status, given.error_code):
        return f"must be {given.status} {given.error_code or ''}".strip()
    if result.times_written != 1:
        return f"{result.times_written} results written"
    if result.status == "failed":
        return ""
    (text,) = environment.owner.execute(
        "select text_body from learning_submissions where id = %s", [result.submission_id]
    ).fetchone() or ("",)
    if given.submission.expected_text not in (None, text):
        return "another text than was handed in"
    return "" if _is_criteria_v2(result.analysis_json or {}, given.submission.criteria) else "analysis is not criteria.v2"


def _is_criteria_v2(analysis: dict[str, Any], criteria: tuple[str, ...]) -> bool:
    results = analysis.get("criteria_results", [])
    return (
        analysis.keys() == {"schema", "score", "criteria_results"}
        and analysis["schema"] == "criteria.v2"
        and 0 <= analysis["score"] <= MAX_TOTAL
        and tuple(result["criterion"] for result in results) == criteria
        and all(0 <= result["score"] <= result["max_score"] == MAX_SCORE for result in results)
    )


def _calls_after_a_kill(environment: InputEnvironment) -> int:
    """How many pages are asked for where the worker is killed while the model reads page `KILLED_AT`."""
    environment.simulator.reset_calls()
    environment.simulator.fault("slow", VISION_MODEL, times=KILLED_AT - 1, seconds=0)
    environment.simulator.fault("hang", VISION_MODEL)
    (submission_id,) = enter_all(environment.owner, [document_of(PAGES)], storage_root=environment.storage_root)
    _wait(
        environment,
        lambda: len(_image_calls(environment)) == KILLED_AT and environment.simulator.state()["models"][VISION_MODEL]["running"],
    )
    readers = [worker["pid"] for worker in environment.status()["workers"] if worker["activity"] == "vision"]
    for pid in readers:
        os.kill(pid, signal.SIGKILL)  # a process that our own supervisor started
    _wait(environment, lambda: read_results(environment.owner, (submission_id,))[0].is_final)
    return len(_image_calls(environment))


def _image_calls(environment: InputEnvironment) -> list[dict[str, Any]]:
    return [call for call in environment.simulator.calls() if call["has_image"]]


def _refused(environment: InputEnvironment, label: str, settings: dict[str, str]) -> Row:
    code = refusal_code(environment, environment.environment(**settings))
    return Row(label, "refused", f"exit {code}", None, None, "" if code == EXIT_CONFIG else f"must end with {EXIT_CONFIG}")


def _unheard(environment: InputEnvironment) -> Row:
    """Nothing of a pupil, a prompt or an answer in all that was told."""
    found = leaks(environment)
    return Row("logs, metrics, status and errors", "read", None, None, None, f"personal: {', '.join(found)}" if found else "")
