"""Holds: a server or a store that is away closes a gate, the monitor finds its return, and no further job pays for the outage.

A job in work at the begin of an outage may fail. The jobs behind it wait.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest

from testkit.database import Database
from testkit.live_fleet import LiveFleet
from testkit.object_store import SERVICE_KEY, Answer, Request, files_below, start_store
from testkit.ollama_simulator.process import Option, SimulatorProcess, start_simulator
from testkit.site import FEEDBACK_MODEL, VISION_MODEL, Site, Value, open_site
from testkit.waiting import until

pytestmark = pytest.mark.postgres

OPTIONS: Mapping[str, Option] = {"tokens_per_second": 20_000, "load_seconds": 0.05, "vision_seconds": 0.01, "num_parallel": 4}
SETTINGS: Mapping[str, Value] = {
    "worker_concurrency": 2,
    "ollama_num_parallel": 4,
    "worker_backoff_seconds": 0,
    "worker_max_retries": 20,
    "admission_sample_seconds": 0.1,
}
SAMPLES = 20  # of a closed gate, in which a job would have been leased


@dataclass(slots=True)
class Outage:
    """A site whose model server is started, ended and started again at one address."""

    database: Database
    undo: ExitStack
    port: int
    simulator: ExitStack = field(default_factory=ExitStack)

    def start_server(self, **options: Option) -> SimulatorProcess:
        return self.simulator.enter_context(start_simulator(**{**OPTIONS, "port": self.port, **options}))

    def end_server(self) -> None:
        self.simulator.close()

    def site(self, simulator: SimulatorProcess) -> Site:
        return self.undo.enter_context(open_site(self.database, simulator))


@pytest.fixture
def outage(database: Database) -> Iterator[Outage]:
    with ExitStack() as undo:
        outage = Outage(database, undo, free_port())
        undo.callback(outage.end_server)
        yield outage


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def admission(fleet: LiveFleet) -> dict[str, Any]:
    found: dict[str, Any] = fleet.status()["admission"]
    return found


def until_held(fleet: LiveFleet, reason: str) -> None:
    until(lambda: reason in admission(fleet)["reasons"], what=f"held for {reason}")


def until_sampled(fleet: LiveFleet, name: str, times: int = SAMPLES) -> None:
    """Wait until the monitor has answered so often that a job would have been leased meanwhile."""
    for _ in range(times):
        fleet.metrics()
        admission(fleet)
    assert name in admission(fleet)["reasons"]


def attempts(site: Site) -> set[int]:
    return {job["retry_count"] for job in site.jobs()}


def reasons(fleet: LiveFleet) -> set[str]:
    return {reason for line in fleet.logged("admission") for reason in line.get("reasons", "").split(",")}


def assert_all_completed(site: Site, entered: list[UUID]) -> None:
    site.until_done_once(entered)
    assert {site.submission(each)["analysis_status"] for each in entered} == {"completed"}


# The model server


def test_a_server_that_is_away_before_the_first_photo(outage: Outage) -> None:
    """No job is leased while no connection can be made, status and /healthz name the remedy, and the return is found."""
    simulator = outage.start_server()
    site = outage.site(simulator)
    outage.end_server()
    fleet = site.start_with(SETTINGS)
    until_held(fleet, "server")
    fleet.until_idle()  # a worker's first search may have begun before the gate was closed
    entered = [*site.enter_photos(3), *site.enter_texts(3)]
    until(lambda: fleet.status()["queue"]["queued"] == 6)
    until_sampled(fleet, "server")
    assert (site.leases(*entered), attempts(site)) == ([], {0})
    words = "Held back: Ollama cannot be reached, for "
    status = fleet.status()
    assert (status["state"], status["message"].startswith(words)) == ("degraded", True)
    assert "ServerUnreachable: start it, or correct OLLAMA_BASE_URL" in status["message"]
    assert httpx.get(f"http://{status['metrics_address']}/healthz", trust_env=False).text.count("Ollama cannot be reached") == 1
    metrics = fleet.metrics()
    assert (metrics['learning_admission_held{reason="server"}'], metrics['learning_admission_calls{step="vision"}']) == (1, 0)
    outage.start_server()
    assert_all_completed(site, entered)
    assert "ramping" in reasons(fleet)


def test_a_server_that_ends_and_returns(outage: Outage) -> None:
    """Jobs that are entered during the outage lose no attempt. The first call after it is a canary."""
    site = outage.site(outage.start_server())
    fleet = site.start_with(SETTINGS)
    assert_all_completed(site, before := [*site.enter_photos(1), *site.enter_texts(1)])
    outage.end_server()
    until_held(fleet, "server")
    entered = [*site.enter_photos(4), *site.enter_texts(4)]
    until_sampled(fleet, "server")
    assert attempts(site) == {0}
    simulator = outage.start_server()
    site.until_done(entered)
    assert sorted(site.results()) == sorted([*before, *entered])
    assert fleet.metrics()['ai_worker_processed_total{status="completed"}'] == len(before) + len(entered)
    assert [fleet.metrics()[f'ai_worker_retry_total{{phase="{phase}"}}'] for phase in ("vision", "feedback")] == [0, 0]
    assert chats(simulator)[0]["in_flight_at_start"] == 1


def chats(simulator: SimulatorProcess) -> list[dict[str, Any]]:
    """Calls of jobs. Probes and loads of the monitor use another endpoint."""
    return [call for call in simulator.calls() if call["endpoint"].endswith("chat")]


def probes(simulator: SimulatorProcess) -> list[dict[str, Any]]:
    return [call for call in simulator.calls() if call["endpoint"].endswith("generate") and not call["is_empty"]]


# A failing model


@pytest.mark.parametrize(("model", "step"), [(FEEDBACK_MODEL, "feedback"), (VISION_MODEL, "vision")])
def test_a_failing_model_is_probed_by_the_monitor(outage: Outage, model: str, step: str) -> None:
    """After the failures that open the breaker no job is called until a request of the monitor is answered."""
    simulator = outage.start_server()
    site = outage.site(simulator)
    fleet = site.start_with(SETTINGS)
    assert_all_completed(site, before := [*site.enter_photos(1), *site.enter_texts(1)])
    simulator.reset_calls()
    simulator.fault("status_503", model, times=1000)
    entered = site.enter_photos(4) if step == "vision" else site.enter_texts(4)
    until(lambda: len(probes(simulator)) > 1)
    until_held(fleet, "breaker")
    failed = len(chats(simulator))
    assert "Held back" in fleet.status()["message"]
    assert "Unavailable: see Ollama's log" in fleet.status()["message"]
    assert {probe["has_image"] for probe in probes(simulator)} == {step == "vision"}
    simulator.clear_faults()
    site.until_done(entered)
    assert sorted(site.results()) == sorted([*before, *entered])
    times = sorted(simulator.calls(), key=lambda call: call["at"])
    first_probe = next(number for number, call in enumerate(times) if call in probes(simulator))
    last_probe = max(number for number, call in enumerate(times) if call in probes(simulator))
    assert [call for call in times[first_probe:last_probe] if call["endpoint"].endswith("chat")] == []
    assert failed <= first_probe
    assert fleet.metrics()[f'learning_model_probes_total{{step="{step}"}}'] >= 1
    assert "ramping" in reasons(fleet)


def test_a_silent_model_is_ended_after_a_silent_probe(outage: Outage) -> None:
    """Calls and a probe got no token, so the model is unloaded, loaded again and probed, and all jobs are done."""
    simulator = outage.start_server()
    site = outage.site(simulator)
    fleet = site.start_with({**SETTINGS, "ai_timeout_feedback": 1})
    assert_all_completed(site, site.enter_texts(1))
    simulator.fault("wedge", FEEDBACK_MODEL)
    entered = site.enter_texts(4)
    fleet.until_logged("model_unloaded")
    assert len(probes(simulator)) >= 1
    simulator.clear_faults()
    site.until_done(entered)
    assert {site.submission(each)["analysis_status"] for each in entered} == {"completed"}


def test_calls_that_died_together_are_asked_alone(outage: Outage) -> None:
    """A prompt that ends the model's process ends its neighbour too. After that one call runs at a time."""
    simulator = outage.start_server()
    site = outage.site(simulator)
    fleet = site.start_with({**SETTINGS, "worker_concurrency": 3})
    assert_all_completed(site, site.enter_texts(1))
    simulator.fault("slow", FEEDBACK_MODEL, times=2, seconds=60)
    slow = site.enter_texts(2)
    until(lambda: simulator.state()["models"][FEEDBACK_MODEL]["running"] == 2)
    simulator.fault("kill_runner", FEEDBACK_MODEL)
    killing = site.enter_text("ends the model's process")
    until(lambda: "alone" in reasons(fleet))
    site.until_done(died := [*slow, killing])
    assert len(fleet.logged("step_failed")) == len(died)
    again = chats(simulator)[-len(died) :]
    assert [call["in_flight_at_start"] for call in again] == [1] * len(died)


# The store


Repair = Callable[[], None]


@dataclass(slots=True)
class StoreScene:
    """A store in its outage: the settings that lead to it, the class of its error, and its repair."""

    settings: dict[str, Value]
    error_class: str
    repair: Repair


def remote(url: str, **settings: Value) -> dict[str, Value]:
    return {"storage_verify_root": "", "supabase_url": url, "supabase_service_role_key": SERVICE_KEY, **settings}


def unreachable(site: Site, undo: ExitStack) -> StoreScene:
    port = free_port()

    def repair() -> None:
        undo.enter_context(start_store(files_below(site.storage_root, {}), port))

    return StoreScene(remote(f"http://127.0.0.1:{port}"), "StoreUnreachable", repair)


def answering(answer: Answer, error_class: str) -> Callable[[Site, ExitStack], StoreScene]:
    def scene(site: Site, undo: ExitStack) -> StoreScene:
        store = undo.enter_context(start_store(answer))

        def repair() -> None:
            store.answer = files_below(site.storage_root, {})

        return StoreScene(remote(store.url), error_class, repair)

    return scene


def wrong_root(site: Site, _undo: ExitStack) -> StoreScene:
    elsewhere = site.directory / "mounted"

    def repair() -> None:
        elsewhere.symlink_to(site.storage_root)

    return StoreScene({"storage_verify_root": elsewhere}, "RootUnreadable", repair)


def empty_mount_point(site: Site, _undo: ExitStack) -> StoreScene:
    mount_point = site.directory / "mounted"
    mount_point.mkdir()

    def repair() -> None:
        (mount_point / "submissions").symlink_to(site.storage_root / "submissions")

    return StoreScene({"storage_verify_root": mount_point}, "RootUnreadable", repair)


def refuse(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(request: Request) -> None:
        request.answer(body, status, **headers)

    return answer


NO_BUCKET = b'{"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"}'
STORES: dict[str, Callable[[Site, ExitStack], StoreScene]] = {
    "away": unreachable,
    "wrong root": wrong_root,
    "empty mount point": empty_mount_point,
    "wrong bucket": answering(refuse(400, NO_BUCKET), "StoreRejected"),
    "refused key": answering(refuse(401), "StoreRejected"),
    "errors": answering(refuse(500), "StoreFailed"),
    "busy": answering(refuse(429, Retry_After="1"), "StoreBusy"),
}


@pytest.mark.parametrize("make", STORES.values(), ids=STORES.keys())
def test_a_store_that_is_away_holds_pictures_alone(outage: Outage, make: Callable[[Site, ExitStack], StoreScene]) -> None:
    """After the first files that fail no picture is leased, texts go on, status names the remedy, and the return is found."""
    site = outage.site(outage.start_server())
    scene = make(site, outage.undo)
    fleet = site.start_with({**SETTINGS, **scene.settings})
    assert_all_completed(site, texts := site.enter_texts(1))
    photos = site.enter_photos(20)
    until_held(fleet, "store")
    assert {line["error"] for line in fleet.logged("step_failed")} == {scene.error_class}
    texts += (more := site.enter_texts(3))
    site.until_done(more)
    failed = len(fleet.logged("step_failed"))
    until_sampled(fleet, "store")
    assert failed == len(fleet.logged("step_failed")) < len(photos)
    status = fleet.status()
    assert (status["state"], status["admission"]["vision_calls"], status["admission"]["store_error"]) == (
        "degraded",
        0,
        scene.error_class,
    )
    assert f"({scene.error_class}: " in status["message"]
    assert "Held back: pictures wait, because " in status["message"]
    scene.repair()
    site.until_done(photos)
    assert sorted(site.results()) == sorted([*texts, *photos])
    until(lambda: "store" not in admission(fleet)["reasons"])
    assert {"store", "returning"} <= reasons(fleet)


def test_one_file_that_the_store_cannot_read_holds_up_no_other(outage: Outage) -> None:
    """The bucket answers probes and one file fails each time. The pictures behind it are read."""
    site = outage.site(outage.start_server())
    store = outage.undo.enter_context(start_store())
    fleet = site.start_with({**SETTINGS, **remote(store.url), "worker_max_retries": 100, "worker_backoff_seconds": 0.2})
    (damaged,) = site.enter_photos(1)
    key = site.submission(damaged)["storage_key"]
    sound = files_below(site.storage_root, {})
    store.answer = lambda request: request.answer(b"", 500) if key in request.path else sound(request)
    until_held(fleet, "store")
    photos = site.enter_photos(4)
    site.until_done(photos)
    assert {site.submission(each)["analysis_status"] for each in photos} == {"completed"}
    assert site.job(damaged)["status"] != "failed"
    store.answer = sound
    site.until_done([damaged])
