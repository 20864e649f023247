"""Tries all inputs in a real queue with real supervisors, and reads from the database what became of each."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from supervisor.exit_codes import EX_CONFIG
from testkit.inputs.catalogue import MISDEEDS, REFUSED, VISION_MODEL, document_of, inputs, mark
from testkit.inputs.input import Entered, Input, Place
from testkit.inputs.leaks import leaks
from testkit.inputs.stage import InputEnvironment, refusal_code, set_up, supervisor
from testkit.inputs.store import object_store
from testkit.results import Fate, fates
from testkit.submissions import enter_all
from worker.core.criteria import MAX_SCORE, MAX_TOTAL

PATIENCE_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.03
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
    misdeeds: dict[str, str] = {}
    with set_up() as stage, object_store(stage.storage_root, misdeeds) as store_url:
        rows, vision_calls = [], 0
        for place in Place:
            together = [each for each in inputs() if each.place is place and not each.is_alone]
            alone = [each for each in inputs() if each.place is place and each.is_alone]
            ids = _enter(stage, together, misdeeds)
            with supervisor(stage, stage.environment(**stage.files(place, store_url))):
                rows += _finished(stage, together, ids)
                for each in alone:
                    rows += _finished(stage, [each], _enter(stage, [each], misdeeds))
                if place is Place.DIRECTORY:
                    vision_calls = _calls_after_a_kill(stage)
        rows += [_refused(stage, label, settings) for label, settings in REFUSED.items()]
        rows.append(_unheard(stage))
        return Trial(tuple(rows), stage.worker_crashes() - 1, vision_calls)


def _enter(stage: InputEnvironment, batch: Sequence[Input], misdeeds: dict[str, str]) -> tuple[UUID, ...]:
    """In the queue, with all that is wrong with them, before any worker sees them."""
    ids = enter_all(stage.owner, [each.submission for each in batch], storage_root=stage.storage_root)
    for each, submission_id in zip(batch, ids, strict=True):
        entered = Entered(stage.owner, submission_id, stage.storage_root)
        if each.fault:
            stage.order(each, containing=mark(each.label))
        if each.spoil:
            each.spoil(entered)
        if each.label in MISDEEDS:
            misdeeds[str(entered.path.relative_to(stage.storage_root))] = MISDEEDS[each.label]
    return ids


def _finished(stage: InputEnvironment, batch: Sequence[Input], ids: tuple[UUID, ...]) -> list[Row]:
    """Waits until all are over, or for as long as one can wait."""
    _wait(stage, lambda: all(fate.is_final for fate in fates(stage.owner, ids)))
    return [_row(stage, each, fate) for each, fate in zip(batch, fates(stage.owner, ids), strict=True)]


def _wait(stage: InputEnvironment, condition: Callable[[], Any]) -> None:
    until_seconds = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < until_seconds:
        stage.look()
        time.sleep(LOOK_AGAIN_SECONDS)


def _row(stage: InputEnvironment, given: Input, fate: Fate) -> Row:
    began, ended = stage.owner.execute(SPAN, {"id": fate.submission_id}).fetchone() or (None, None)
    if began is None or ended is None:
        return Row(given.label, fate.status, fate.error_code, None, None, "lost")
    peaks = [peak for pid in set(fate.worker_pids) if (peak := stage.memory.peak_mb(pid, began, ended))]
    return Row(
        given.label, fate.status, fate.error_code, round(ended - began, 3), max(peaks, default=None), _problem(stage, given, fate)
    )


def _problem(stage: InputEnvironment, given: Input, fate: Fate) -> str:
    if (fate.status, fate.error_code) != (given.status, given.error_code):
        return f"must be {given.status} {given.error_code or ''}".strip()
    if fate.results != 1:
        return f"{fate.results} results written"
    if fate.status == "failed":
        return ""
    (text,) = stage.owner.execute(
        "select text_body from learning_submissions where id = %s", [fate.submission_id]
    ).fetchone() or ("",)
    if given.submission.expected_text not in (None, text):
        return "another text than was handed in"
    return "" if _is_criteria_v2(fate.analysis_json or {}, given.submission.criteria) else "analysis is not criteria.v2"


def _is_criteria_v2(analysis: dict[str, Any], criteria: tuple[str, ...]) -> bool:
    results = analysis.get("criteria_results", [])
    return (
        analysis.keys() == {"schema", "score", "criteria_results"}
        and analysis["schema"] == "criteria.v2"
        and 0 <= analysis["score"] <= MAX_TOTAL
        and tuple(result["criterion"] for result in results) == criteria
        and all(0 <= result["score"] <= result["max_score"] == MAX_SCORE for result in results)
    )


def _calls_after_a_kill(stage: InputEnvironment) -> int:
    """How many pages are asked for where the worker is killed while the model reads page `KILLED_AT`."""
    stage.simulator.reset_calls()
    stage.simulator.fault("slow", VISION_MODEL, times=KILLED_AT - 1, seconds=0)
    stage.simulator.fault("hang", VISION_MODEL)
    (submission_id,) = enter_all(stage.owner, [document_of(PAGES)], storage_root=stage.storage_root)
    _wait(stage, lambda: len(_image_calls(stage)) == KILLED_AT and stage.simulator.state()["models"][VISION_MODEL]["running"])
    readers = [worker["pid"] for worker in stage.status()["workers"] if worker["activity"] == "vision"]
    for pid in readers:
        os.kill(pid, signal.SIGKILL)  # a process that our own supervisor started
    _wait(stage, lambda: fates(stage.owner, (submission_id,))[0].is_final)
    return len(_image_calls(stage))


def _image_calls(stage: InputEnvironment) -> list[dict[str, Any]]:
    return [call for call in stage.simulator.calls() if call["has_image"]]


def _refused(stage: InputEnvironment, label: str, settings: dict[str, str]) -> Row:
    code = refusal_code(stage, stage.environment(**settings))
    return Row(label, "refused", f"exit {code}", None, None, "" if code == EX_CONFIG else f"must end with {EX_CONFIG}")


def _unheard(stage: InputEnvironment) -> Row:
    """Nothing of a pupil, a prompt or an answer in all that was told."""
    found = leaks(stage)
    return Row("logs, metrics, status and errors", "read", None, None, None, f"personal: {', '.join(found)}" if found else "")
