"""Ollama under control: memory over the limit, lists that are wrong or do not arrive, absent models, failing servers.

Each test has a model server of its own. What Ollama holds on this host is read from a control group's file that the test writes,
as the simulator allocates nothing.
"""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from testkit.database import Database
from testkit.live_fleet import LiveFleet
from testkit.ollama_simulator.process import Option, SimulatorProcess, start_simulator
from testkit.site import FEEDBACK_MODEL, VISION_MODEL, Site, Value, open_site
from testkit.waiting import until

GB = 10**9
LIMIT, LOW_WATER = "8000000000", "6000000000"
MODELS = [f"{VISION_MODEL}:vision:size=1GB", f"{FEEDBACK_MODEL}:thinking:size=2GB"]
FAST: Mapping[str, Option] = {
    "model": MODELS,
    "tokens_per_second": 20_000,
    "load_seconds": 0.05,
    "vision_seconds": 0.01,
    "num_parallel": 8,
}
SAMPLE_SECONDS = 0.1
CONTEXT = 4096  # small, so that eight calls to both models fit under the limit
LOAD_SECONDS = 0.5
LOAD_BOUND = 'learning_call_load_seconds_bucket{le="0.1",step="%s"}'
LOAD_COUNT = 'learning_call_load_seconds_count{step="%s"}'


@dataclass(frozen=True, slots=True)
class Server:
    """A site whose Ollama holds as much memory as the test sets."""

    site: Site
    cgroup: Path

    def hold(self, size_bytes: float) -> None:
        replaced = self.cgroup / "memory.new"
        replaced.write_text(f"{int(size_bytes)}\n")
        replaced.replace(self.cgroup / "memory.current")

    def start(self, **settings: Value) -> LiveFleet:
        own: dict[str, Value] = {"admission_sample_seconds": SAMPLE_SECONDS, "ollama_cgroup": self.cgroup, "ai_num_ctx": CONTEXT}
        return self.site.start_with(own | settings)

    def start_limited(self, **settings: Value) -> LiveFleet:
        return self.start(ollama_memory_limit=LIMIT, ollama_memory_low_water=LOW_WATER, **settings)

    def forget_models(self) -> None:
        """As a night does."""
        for model in (VISION_MODEL, FEEDBACK_MODEL):
            self.site.simulator.client.post("/api/generate", json={"model": model, "keep_alive": 0})
        until(lambda: not self.site.simulator.state()["loaded"])


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(database: Database, undo: ExitStack) -> Server:
    return opened(database, undo)


def opened(database: Database, undo: ExitStack, **options: Option) -> Server:
    simulator: SimulatorProcess = undo.enter_context(start_simulator(**{**FAST, **options}))
    site = undo.enter_context(open_site(database, simulator))
    (cgroup := site.directory / "ollama.service").mkdir()
    server = Server(site, cgroup)
    server.hold(GB)
    return server


def until_ready(fleet: LiveFleet) -> None:
    """Every worker waits, and the monitor has decided for the first time."""
    fleet.until_logged("admission")
    fleet.until_idle()


def admission(fleet: LiveFleet) -> dict[str, Any]:
    found: dict[str, Any] = fleet.status()["admission"]
    return found


def until_held(fleet: LiveFleet, reason: str, observed_bytes: float) -> None:
    """For this reason, by a decision that knows so much of the memory."""
    until(lambda: reason in (now := admission(fleet))["reasons"] and now["ollama"]["observed_bytes"] == observed_bytes)


def until_sampled_again(fleet: LiveFleet, server: Server, size_bytes: float) -> None:
    """Waits for some samples, recognised by a size that was never listed before."""
    server.hold(size_bytes)
    until(lambda: admission(fleet)["ollama"]["observed_bytes"] == int(size_bytes))


# The limit


def test_over_the_limit_no_job_starts_and_running_jobs_finish(server: Server) -> None:
    """A job in work goes on to its result. Waiting jobs are not leased, not even between the two marks, until memory is back.
    Then one worker begins after another.
    """
    site = server.site
    fleet = server.start_limited(worker_concurrency=3)
    site.until_done(site.enter_texts(1))
    site.simulator.fault("slow", FEEDBACK_MODEL, seconds=1)
    running = site.enter_text()
    site.until_in_call(fleet, FEEDBACK_MODEL)
    server.hold(9 * GB)
    until_held(fleet, "memory", 9 * GB)
    waiting = site.enter_texts(6)
    site.until_done([running])
    assert "Held back: Ollama uses 9.0 GB of 8.0 GB" in fleet.status()["message"]
    assert fleet.metrics()['learning_admission_held{reason="memory"}'] == 1
    until_sampled_again(fleet, server, 7 * GB)
    assert admission(fleet)["slots"] == 0
    assert site.leases(*waiting) == []
    server.hold(GB)
    site.until_done(waiting)
    until(lambda: admission(fleet)["slots"] == 64)
    slots = [number for number, _ in itertools.groupby(line["slots"] for line in fleet.logged("admission"))]
    assert slots == ["64", "0", "1", "2", "64"]


@pytest.mark.second_tier
def test_sizes_in_ollamas_list_can_close_all_slots(database: Database, undo: ExitStack) -> None:
    """No process of Ollama is measured. The sizes in its list are enough to hold work back."""
    models = [f"{VISION_MODEL}:vision:size=3GiB", f"{FEEDBACK_MODEL}:thinking:size=9GiB"]
    server = opened(database, undo, model=models)
    (server.cgroup / "memory.current").unlink()
    server.site.simulator.client.post("/api/generate", json={"model": FEEDBACK_MODEL})
    fleet = server.start_limited()
    until(lambda: "memory" in admission(fleet)["reasons"])
    (text,) = server.site.enter_texts(1)
    until(lambda: admission(fleet)["is_holding"])
    assert server.site.leases(text) == []
    server.forget_models()
    until(lambda: admission(fleet)["ollama"]["models"] == [])


def test_a_dead_monitor_admits_no_job(server: Server) -> None:
    """Its last decision stays in force, and its successor continues the hold."""
    fleet = server.start_limited(worker_concurrency=2)
    server.site.until_done(server.site.enter_texts(1))
    server.hold(9 * GB)
    until_held(fleet, "memory", 9 * GB)
    server.hold(7 * GB)  # between the marks: a worker without the hold would let all of them in
    until_held(fleet, "memory", 7 * GB)
    dead = fleet.monitor_pid()
    (monitor,) = [child for child in fleet.children() if child.pid == dead]
    monitor.kill()
    waiting = server.site.enter_texts(4)
    until(lambda: fleet.monitor_pid() != dead)
    until_sampled_again(fleet, server, 6.9 * GB)
    assert admission(fleet)["slots"] == 0
    assert server.site.leases(*waiting) == []
    server.hold(GB)
    server.site.until_done(waiting)


@pytest.mark.second_tier
def test_a_stall_is_bounded(server: Server) -> None:
    """Held for the longest time allowed, with nothing in work: the idle model is unloaded, then one job after another is done."""
    fleet = server.start_limited(worker_concurrency=2, admission_max_hold_seconds=5)
    server.site.until_done(server.site.enter_texts(1))
    server.hold(9 * GB)
    until_held(fleet, "memory", 9 * GB)
    waiting = server.site.enter_texts(2)
    fleet.until_logged("model_unloaded")
    server.site.until_done(waiting)
    assert "canary" in {reason for line in fleet.logged("admission") for reason in line["reasons"].split(",")}


# The list


@pytest.mark.parametrize(
    "mode", ["silent", *(pytest.param(mode, marks=pytest.mark.second_tier) for mode in ("nonsense", "error"))]
)
def test_without_a_memory_limit_a_missing_list_stops_no_job(server: Server, mode: str) -> None:
    """The work goes on, and status and metrics report that Ollama does not answer, and later that it does."""
    server.site.simulator.list_as(mode)
    fleet = server.start()
    server.site.until_done(server.site.enter_texts(3))
    until(lambda: admission(fleet)["ollama"]["list_error"])
    assert fleet.metrics()["learning_ollama_answers"] == 0
    server.site.simulator.list_as("right")
    until(lambda: fleet.metrics()["learning_ollama_answers"] == 1)


def test_under_a_memory_limit_unknown_memory_admits_no_job(server: Server) -> None:
    """While Ollama's memory is unknown, no job is leased."""
    server.site.simulator.list_as("error")
    fleet = server.start_limited()
    waiting = server.site.enter_texts(2)
    until(lambda: admission(fleet)["is_holding"])
    until_sampled_again(fleet, server, 2 * GB)
    assert server.site.leases(*waiting) == []
    server.site.simulator.list_as("right")
    server.site.until_done(waiting)


@pytest.mark.second_tier
def test_under_a_memory_limit_a_long_list_failure_admits_no_job(server: Server) -> None:
    """If a list fails for longer than the grace time, no worker leases, and the status message gives the reason."""
    fleet = server.start_limited()
    server.site.until_done(server.site.enter_texts(1))
    server.site.simulator.list_as("silent")
    until(lambda: "unknown" in admission(fleet)["reasons"])
    waiting = server.site.enter_texts(2)
    assert "Held back: Ollama does not report its memory (no answer in time)" in fleet.status()["message"]
    assert server.site.leases(*waiting) == []
    server.site.simulator.list_as("right")
    server.site.until_done(waiting)


# Ready before work


def paid_for_no_load(fleet: LiveFleet, step: str) -> bool:
    metrics = fleet.metrics()
    return metrics.get(LOAD_BOUND % step) == metrics.get(LOAD_COUNT % step)


def test_no_call_includes_a_load_after_a_night(database: Database, undo: ExitStack) -> None:
    """Both models are gone when the first jobs come in: each is loaded before its first job, which loads nothing."""
    server = opened(database, undo, load_seconds=LOAD_SECONDS)
    fleet = server.start(worker_concurrency=2)
    until_ready(fleet)
    server.site.until_done([*server.site.enter_texts(1), *server.site.enter_photos()])
    until(lambda: len(admission(fleet)["ollama"]["models"]) == 2)
    for size_bytes in (1, 2, 3):  # lists after the loads' answers confirm them, else the models would count as unlisted
        until_sampled_again(fleet, server, size_bytes)
    server.forget_models()
    until(lambda: admission(fleet)["vision_calls"] == admission(fleet)["feedback_calls"] == 0)
    loads = len(fleet.logged("model_loaded"))
    server.site.until_done([*server.site.enter_photos(2), *server.site.enter_texts(2)])
    again = fleet.logged("model_loaded")[loads:]
    assert {line["model"]: line["is_ok"] for line in again} == {VISION_MODEL: "True", FEEDBACK_MODEL: "True"}
    assert [paid_for_no_load(fleet, step) for step in ("vision", "feedback")] == [True, True]
    assert server.site.jobs() == []


def test_a_text_does_not_wait_for_the_vision_model(database: Database, undo: ExitStack) -> None:
    """While the vision model cannot be loaded, the photo waits unleased, status reports it, and the text behind it is done."""
    server = opened(database, undo, model=[f"{FEEDBACK_MODEL}:thinking"])
    fleet = server.start()
    until_ready(fleet)
    (photo,) = server.site.enter_photos()
    texts = server.site.enter_texts(2)
    server.site.until_done(texts)
    until(lambda: f"Held back: {VISION_MODEL} could not be loaded" in fleet.status()["message"])
    assert server.site.leases(photo) == []


# A server that fails

TRANSIENT = ("hang", "endless", "repeat", "status_500", "disconnect", "kill_runner", "done_false", "eof", "garbage")


def test_a_job_is_tried_again_after_each_kind_of_model_failure(server: Server) -> None:
    """Silence, error statuses and broken streams hold the job, an endless answer costs an attempt, and the next try succeeds."""
    fleet = server.start(ai_timeout_feedback=1, worker_backoff_seconds=0)
    retried = []
    for kind in TRANSIENT:
        server.site.simulator.fault(kind, FEEDBACK_MODEL)
        retried.append(server.site.enter_text())
        server.site.until_done(retried[-1:])
    assert {server.site.submission(each)["analysis_status"] for each in retried} == {"completed"}
    metrics = fleet.metrics()
    retries, runaways = metrics['ai_worker_retry_total{phase="feedback"}'], metrics["learning_runaway_answers_total"]
    assert retries == runaways >= 1
    assert metrics["learning_jobs_held_total"] == len(TRANSIENT) - retries
    assert metrics['learning_model_call_ends_total{outcome="silent",step="feedback"}'] >= 1


@pytest.mark.second_tier
def test_a_server_without_room_costs_no_attempt(server: Server) -> None:
    """503: the job is given back as it was and done later."""
    fleet = server.start()
    server.site.until_done(server.site.enter_texts(1))
    server.site.simulator.fault("status_503", FEEDBACK_MODEL)
    text = server.site.enter_text()
    server.site.until_done([text])
    assert server.site.submission(text)["analysis_status"] == "completed"
    assert fleet.metrics()['ai_worker_retry_total{phase="feedback"}'] == 0
    assert fleet.metrics()['ai_worker_processed_total{status="returned"}'] == 1


@pytest.mark.second_tier
def test_a_storm_opens_the_breaker_and_a_probe_closes_it(server: Server) -> None:
    """After failures in a row the model gets no call. A probe of the monitor is answered, and then all jobs are done without
    losing an attempt.
    """
    fleet = server.start(worker_concurrency=4)
    server.site.until_done(server.site.enter_texts(1))
    server.site.simulator.fault("status_503", FEEDBACK_MODEL, times=6)
    waiting = server.site.enter_texts(8)
    server.site.until_done(waiting)
    reported = {reason for line in fleet.logged("admission") for reason in line.get("reasons", "").split(",")}
    assert {"breaker", "ramping"} <= reported
    assert fleet.metrics()['ai_worker_retry_total{phase="feedback"}'] == 0


# Two models that do not fit together


@pytest.mark.second_tier
def test_two_instances_agree_on_the_active_model(database: Database, undo: ExitStack) -> None:
    """Two supervisors are never in calls to both models at the same time, and no call pays for a load: Ollama never evicts."""
    server = opened(database, undo, max_loaded_models=1, load_seconds=LOAD_SECONDS)
    server.hold(0)  # gone from the list is gone from memory
    site = server.site
    fleets = [server.start(worker_concurrency=2, ollama_max_loaded_models=1) for _ in range(2)]
    for fleet in fleets:
        until_ready(fleet)
    entered = [*site.enter_photos(6), *site.enter_texts(2)]
    site.until_done_once(entered)
    calls = [call for call in site.simulator.calls() if call["endpoint"].endswith("chat")]
    assert {call["model"] for call in calls} == {VISION_MODEL, FEEDBACK_MODEL}
    pairs = itertools.combinations(calls, 2)
    assert [pair for pair in pairs if pair[0]["model"] != pair[1]["model"] and overlap(*pair)] == []
    assert all(paid_for_no_load(fleet, step) for fleet in fleets for step in ("vision", "feedback"))


@pytest.mark.second_tier
def test_repeated_swaps_reveal_that_two_models_do_not_fit(database: Database, undo: ExitStack) -> None:
    """The server keeps one model only, without a setting for it. After three swaps the two models take turns."""
    server = opened(database, undo, max_loaded_models=1, load_seconds=LOAD_SECONDS)
    server.hold(0)  # gone from the list is gone from memory
    fleet = server.start(worker_concurrency=2)
    until_ready(fleet)
    entered: list[UUID] = []

    def takes_turns_under_work() -> bool:
        """A fast machine finishes the work before the third swap, so more is entered whenever none is left."""
        if server.site.is_done(entered):
            entered.extend([*server.site.enter_photos(2), *server.site.enter_texts(2)])
        return "exclusive" in admission(fleet)["reasons"]

    until(takes_turns_under_work)
    server.site.until_done_once(entered)


def overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    first, second = sorted((one, other), key=lambda call: call["at"])
    return bool(first["at"] + first["seconds"] > second["at"])
