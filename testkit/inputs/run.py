"""Run all inputs through a real queue and compare the results in the database with the expected ones."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from testkit.inputs.catalogue import REFUSED, STORE_FAULTS, VISION_MODEL, document_of, inputs, mark
from testkit.inputs.environment import InputEnvironment, set_up
from testkit.inputs.input import Entered, Input, Place
from testkit.inputs.leaks import leaks
from testkit.object_store import files_below, start_store
from testkit.results import SubmissionResult, read_results
from testkit.supervisor_process import SupervisorProcess
from testkit.waiting import until
from worker.core.criteria import MAX_SCORE, MAX_TOTAL

LIMIT_SECONDS: Final = 120.0
EXIT_CONFIG: Final = 78
PAGES, KILLED_AT = 20, 19
LEAKS: Final = "logs, metrics, status and errors"


@dataclass(frozen=True, slots=True)
class Run:
    """`problems` are the differences from the expected result by label, empty for a correct result.

    `vision_calls` were made for a document of `PAGES` pages whose worker was killed at page `KILLED_AT`.
    """

    problems: dict[str, str]
    worker_crashes: int
    vision_calls: int


def run() -> Run:
    """Run all inputs of a place at the same time. An input that disturbs others runs alone."""
    store_faults: dict[str, str] = {}
    with set_up() as environment, start_store(files_below(environment.storage_root, store_faults)) as store:
        problems: dict[str, str] = {}
        vision_calls = 0
        for place in Place:
            together = [each for each in inputs() if each.place is place and not each.is_alone]
            alone = [each for each in inputs() if each.place is place and each.is_alone]
            ids = _enter(environment, together, store_faults)
            with environment.supervisor(environment.variables_for(place, store.url)) as supervisor:
                problems |= _problems(environment, together, ids)
                for each in alone:
                    problems |= _problems(environment, [each], _enter(environment, [each], store_faults))
                if place is Place.DIRECTORY:
                    vision_calls = _calls_after_a_kill(environment, supervisor)
        problems |= {label: _refusal_problem(environment, settings) for label, settings in REFUSED.items()}
        problems[LEAKS] = ", ".join(leaks(environment))
        return Run(problems, environment.worker_crashes() - 1, vision_calls)


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


def _problems(environment: InputEnvironment, batch: Sequence[Input], ids: list[UUID]) -> dict[str, str]:
    """Wait for the end of all inputs. One that is not final within the limit is a problem of its own."""
    with suppress(TimeoutError):
        until(lambda: all(result.is_final for result in read_results(environment.owner, ids)), LIMIT_SECONDS)
    results = zip(batch, read_results(environment.owner, ids), strict=True)
    return {given.label: _problem(environment, given, result) for given, result in results}


def _problem(environment: InputEnvironment, given: Input, result: SubmissionResult) -> str:
    if (result.status, result.error_code) != (given.status, given.error_code):
        return f"{result.status} {result.error_code}, expected {given.status} {given.error_code}"
    if result.times_written != 1:
        return f"{result.times_written} results written"
    if result.status == "failed":
        return ""
    text = environment.submission(result.submission_id)["text_body"]
    if given.submission.expected_text not in (None, text):
        return "another text than was entered"
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
