"""Run all inputs through a real queue and compare the results in the database with the expected ones."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg

from testkit.inputs.catalogue import REFUSED, STORE_FAULTS, VISION_MODEL, document_of, mark
from testkit.inputs.environment import InputEnvironment, set_up
from testkit.inputs.input import Entered, Input, Place
from testkit.inputs.leaks import leaks
from testkit.object_store import files_below, start_store
from testkit.readers import unreadable_results
from testkit.results import SubmissionResult, read_results
from testkit.supervisor_process import SupervisorProcess
from testkit.waiting import until
from worker.core.criteria import MAX_SCORE, MAX_TOTAL

LIMIT_SECONDS: Final = 120.0
EXIT_CONFIG: Final = 78
PAGES, KILLED_AT = 20, 19
LEAKS: Final = "logs, metrics, status and errors"
READERS: Final = "results for the platform's readers"


@dataclass(frozen=True, slots=True)
class Row:
    """One input and its result. `problem` is the difference from the expected one, empty for a correct result."""

    label: str
    problem: str
    outcome: str = ""
    error_code: str | None = None
    reason: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """`vision_calls` were made for a document of `PAGES` pages whose worker was killed at page `KILLED_AT`."""

    rows: tuple[Row, ...]
    worker_crashes: int
    vision_calls: int

    @property
    def problems(self) -> dict[str, str]:
        """Return the problem of each input, empty for a correct result."""
        return {row.label: row.problem for row in self.rows}


def run(given: Sequence[Input]) -> Run:
    """Run all inputs of a place at the same time. An input that disturbs others runs alone."""
    store_faults: dict[str, str] = {}
    with set_up() as environment, start_store(files_below(environment.storage_root, store_faults)) as store:
        rows: list[Row] = []
        vision_calls = 0
        for place in Place:
            together = [each for each in given if each.place is place and not each.is_alone]
            alone = [each for each in given if each.place is place and each.is_alone]
            ids = _enter(environment, together, store_faults)
            with environment.supervisor(environment.variables_for(place, store.url)) as supervisor:
                rows += _rows(environment, together, ids)
                for each in alone:
                    rows += _rows(environment, [each], _enter(environment, [each], store_faults))
                if place is Place.DIRECTORY:
                    vision_calls = _calls_after_a_kill(environment, supervisor)
        rows += [Row(label, _refusal_problem(environment, settings)) for label, settings in REFUSED.items()]
        rows.append(Row(LEAKS, ", ".join(leaks(environment))))
        rows.append(readers_row(environment.owner))
        return Run(tuple(rows), environment.worker_crashes() - 1, vision_calls)


def readers_row(owner: psycopg.Connection[Any]) -> Row:
    """Judge all results in the database by the rules of the platform's readers."""
    return Row(READERS, ", ".join(unreadable_results(owner)))


def _enter(environment: InputEnvironment, batch: Sequence[Input], store_faults: dict[str, str]) -> list[UUID]:
    """Enter the inputs with their faults and corruptions, before a worker can lease them."""
    ids = environment.enter(*(each.submission for each in batch))
    for each, submission_id in zip(batch, ids, strict=True):
        entered = Entered(environment.owner, submission_id, environment.storage_root)
        if each.fault:
            environment.set_fault(each, containing=mark(each.label))
        if each.corrupt:
            each.corrupt(entered)
        if each.label in STORE_FAULTS:
            store_faults[str(entered.path.relative_to(environment.storage_root))] = STORE_FAULTS[each.label]
    return ids


def _rows(environment: InputEnvironment, batch: Sequence[Input], ids: list[UUID]) -> list[Row]:
    """Wait for the end of all inputs. One that is not final within the limit is a problem of its own."""
    with suppress(TimeoutError):
        until(lambda: all(result.is_final for result in read_results(environment.owner, ids)), LIMIT_SECONDS)
    results = zip(batch, read_results(environment.owner, ids), strict=True)
    return [_row(environment, given, result) for given, result in results]


def _row(environment: InputEnvironment, given: Input, result: SubmissionResult) -> Row:
    reason = environment.submission(result.submission_id)["vision_last_error"]
    problem = _problem(environment, given, result)
    return Row(given.label, problem, result.status, result.error_code, reason, result.seconds)


def _problem(environment: InputEnvironment, given: Input, result: SubmissionResult) -> str:
    if (result.status, result.error_code) != (given.status, given.error_code):
        return f"{result.status} {result.error_code}, expected {given.status} {given.error_code}"
    row = environment.submission(result.submission_id)
    if given.reason and row["vision_last_error"] != given.reason:
        return f"{row['vision_last_error']}, expected {given.reason}"
    if result.times_written != 1:
        return f"{result.times_written} results written"
    if result.status == "failed":
        return ""
    if given.submission.expected_text not in (None, row["text_body"]) or not _has_parts(given, row["text_body"]):
        return "another text than was entered"
    return "" if _is_criteria_v2(result.analysis_json or {}, given.submission.criteria) else "analysis is not criteria.v2"


def _has_parts(given: Input, text: str) -> bool:
    places = [text.find(part) for part in given.parts]
    is_each_once = all(text.count(part) == 1 for part in given.parts)
    return is_each_once and places == sorted(places) and not (given.unwanted and given.unwanted in text)


def _is_criteria_v2(analysis: dict[str, Any], criteria: tuple[str, ...]) -> bool:
    if not criteria:
        return analysis == {}
    results = analysis.get("criteria_results", [])
    return (
        analysis.keys() == {"schema", "score", "criteria_results"}
        and analysis["schema"] == "criteria.v2"
        and 0 <= analysis["score"] <= MAX_TOTAL
        and tuple(result["criterion"] for result in results) == criteria
        and all(0 <= result["score"] <= result["max_score"] == MAX_SCORE for result in results)
    )


def _calls_after_a_kill(environment: InputEnvironment, supervisor: SupervisorProcess) -> int:
    """Count the vision calls for a document whose worker is killed while the model reads page `KILLED_AT`."""
    simulator = environment.simulator
    simulator.reset_calls()
    simulator.fault("slow", VISION_MODEL, times=KILLED_AT - 1, seconds=0)
    simulator.fault("hang", VISION_MODEL)
    ids = environment.enter(document_of(PAGES))
    until(lambda: _image_calls(environment) == KILLED_AT and simulator.state()["models"][VISION_MODEL]["running"], LIMIT_SECONDS)
    for worker in supervisor.workers():
        if worker["activity"] == "vision":
            os.kill(worker["pid"], signal.SIGKILL)
    until(lambda: read_results(environment.owner, ids)[0].is_final, LIMIT_SECONDS)
    return _image_calls(environment)


def _image_calls(environment: InputEnvironment) -> int:
    return sum(call["has_image"] for call in environment.simulator.calls())


def _refusal_problem(environment: InputEnvironment, settings: dict[str, str]) -> str:
    code = environment.refusal_code(environment.variables(**settings))
    return "" if code == EXIT_CONFIG else f"exit code {code}, expected {EXIT_CONFIG}"
