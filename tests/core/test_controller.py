"""The admission controller: a bug in one of its tasks, its requests for the model lock, its lists and its probes."""

import asyncio
import time
from contextlib import suppress

import pytest

from supervisor.admission.breaker import TRIP_FAILURES
from supervisor.admission.decision import AcquireModelLock
from supervisor.admission.facts import HostMeasured, ListError, ListFailed, LoadedModel, ModelsListed
from supervisor.admission.policy import AdmissionPolicy
from supervisor.event_log import EventLog
from supervisor.monitor.ollama.controller import AdmissionController, AdmissionDependencies
from supervisor.monitor.ollama.host import Host
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.outgoing import RequestEnd
from supervisor.monitor.queue.requests import DatabaseRequest, DatabaseRequests
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from supervisor.monitor.store.probe import StoreProbe
from supervisor.settings.model import parse
from testkit.waiting import LIMIT_SECONDS
from tests.inputs.alarm import alarmed
from worker.ipc.contract import CallOutcome, ModelCall, Step
from worker.ipc.scoreboard import AdmissionRecord, Scoreboard
from worker.queue.polls import StepBacklog

URL = "http://127.0.0.1:1"
SAMPLE_SECONDS = 0.02
V, F = "vision:latest", "feedback:latest"


class Broken(OllamaServer):
    """A server whose first list request raises an unexpected exception."""

    async def listed(self) -> ModelsListed | ListFailed:
        raise KeyError


class Empty(OllamaServer):
    """A server that has no model loaded."""

    async def listed(self) -> ModelsListed | ListFailed:
        return ModelsListed((), 0.0)


class Slow(Host):
    """A host that takes longer to measure than the time between two samples."""

    def measured(self) -> HostMeasured:
        time.sleep(2 * SAMPLE_SECONDS)
        return super().measured()


def controller_of(
    policy: AdmissionPolicy,
    server: OllamaServer,
    state: MonitorState,
    requests: DatabaseRequests,
    host: Host | None = None,
    board: Scoreboard | None = None,
    log: EventLog | None = None,
) -> AdmissionController:
    board = board or Scoreboard()
    settings = parse({"AI_BACKEND": "stub", "LEARNING_DATABASE_URL": "postgresql://worker@127.0.0.1/nowhere"}).worker
    dependencies = AdmissionDependencies(policy, settings, server, StoreProbe(settings), host or Host(URL, None), requests)
    return AdmissionController(dependencies, board, state, Waker(board, []), log or EventLog("ERROR", lambda _: None))


def test_a_bug_in_a_task_ends_the_controller() -> None:
    """The exception is not lost with its task: the monitor logs it, ends, and is replaced."""
    policy = AdmissionPolicy(V, F, sample_seconds=0.01)
    controller = controller_of(policy, Broken(URL, 1.0), MonitorState(), DatabaseRequests())

    async def run() -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await controller.run()

    with pytest.raises(KeyError):
        asyncio.run(run())


def test_a_measurement_that_ends_after_the_next_is_due_stops_no_other_task() -> None:
    """The loop also serves the database and /metrics, so each sample leaves it time to run."""
    policy, state = AdmissionPolicy(V, F, sample_seconds=SAMPLE_SECONDS), MonitorState()
    controller = controller_of(policy, Empty(URL, 1.0), state, DatabaseRequests(), Slow(URL, None))

    async def run() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(10 * SAMPLE_SECONDS):
                await controller.run()

    with alarmed():
        asyncio.run(run())
    assert state.admission.state is not None
    assert state.admission.state.listed_at_seconds is not None


def test_a_lock_that_another_instance_holds_is_requested_once() -> None:
    """Many decisions send one request, because each wakes the listener. A change of the lock or another model sends a new one."""
    state, requests = MonitorState(polled_at_seconds=1.0), DatabaseRequests()
    policy = AdmissionPolicy(V, F, max_loaded_models=1, sample_seconds=LIMIT_SECONDS)
    controller = controller_of(policy, Empty(URL, 1.0), state, requests)

    def decide_often() -> list[DatabaseRequest]:
        """Take the requests after each decision, as the listener does."""
        taken = []
        for _ in range(50):
            controller.call_ended(Step.VISION, ModelCall(CallOutcome.ANSWERED))
            taken += requests.take_all()
        return taken

    async def run() -> None:
        running = asyncio.create_task(controller.run())
        async with asyncio.timeout(LIMIT_SECONDS):
            while state.admission.state.listed_at_seconds is None:
                await asyncio.sleep(0)
        state.backlog = StepBacklog(feedback_jobs=1)
        assert decide_often() == [AcquireModelLock(F)]
        controller.model_lock_changed(None)
        assert decide_often() == [AcquireModelLock(F)]
        state.backlog = StepBacklog(vision_jobs=1)
        assert decide_often() == [AcquireModelLock(V)]
        running.cancel()

    asyncio.run(run())


class Answering(OllamaServer):
    """A server that has both models loaded and answers each probe. It counts its lists."""

    lists = 0

    async def listed(self) -> ModelsListed | ListFailed:
        self.lists += 1
        return ModelsListed(tuple(LoadedModel(name, name, 1, 0, 4096) for name in (V, F)), time.monotonic())

    async def probe(self, model: str, *_: object, **given: object) -> RequestEnd:
        assert given["has_picture"] == (model == V)
        return RequestEnd()


def test_answered_probes_are_counted_for_each_step_and_each_monitor() -> None:
    """They are evidence about the jobs of the model's step. A new monitor goes on counting."""
    state, policy = MonitorState(polled_at_seconds=1.0), AdmissionPolicy(V, F, sample_seconds=SAMPLE_SECONDS, probe_seconds=0.0)
    board = Scoreboard()
    board.admission.write(AdmissionRecord(vision_probes=7, feedback_probes=3))
    controller = controller_of(policy, Answering(URL, 1.0), state, DatabaseRequests(), board=board)

    async def run() -> None:
        running = asyncio.create_task(controller.run())
        async with asyncio.timeout(LIMIT_SECONDS):
            while state.admission.state.listed_at_seconds is None:
                await asyncio.sleep(0)
            for _ in range(TRIP_FAILURES):
                controller.call_ended(Step.VISION, ModelCall(CallOutcome.BUSY))
            while board.admission.read().vision_probes == 7:
                await asyncio.sleep(SAMPLE_SECONDS)
        running.cancel()

    asyncio.run(run())
    record = board.admission.read()
    assert (record.vision_probes, record.feedback_probes, record.vision_calls) == (8, 3, 1)


def test_a_worker_without_a_connection_lets_the_list_be_asked_at_once() -> None:
    """The gates close with the list that fails, and not with the next sample."""
    server = Answering(URL, 1.0)
    controller = controller_of(AdmissionPolicy(V, F, sample_seconds=LIMIT_SECONDS), server, MonitorState(), DatabaseRequests())

    async def run() -> None:
        running = asyncio.create_task(controller.run())
        async with asyncio.timeout(LIMIT_SECONDS):
            while server.lists < 1:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            controller.list_now()
            while server.lists < 2:
                await asyncio.sleep(0)
        running.cancel()

    asyncio.run(run())


class Away(OllamaServer):
    """A server without a connection. It notes whether its long requests were given up."""

    is_given_up = False

    async def listed(self) -> ModelsListed | ListFailed:
        return ListFailed(ListError.UNREACHABLE, time.monotonic())

    def give_up(self) -> None:
        self.is_given_up = True


def test_requests_to_a_server_that_stays_away_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their timeouts are minutes long, and the server that returns does not know them. The gates are closed meanwhile."""
    monkeypatch.setattr("supervisor.monitor.ollama.controller.GIVE_UP_SECONDS", 2 * SAMPLE_SECONDS)
    server, board = Away(URL, 1.0), Scoreboard()
    policy = AdmissionPolicy(V, F, sample_seconds=SAMPLE_SECONDS)
    controller = controller_of(policy, server, MonitorState(polled_at_seconds=1.0), DatabaseRequests(), board=board)

    async def run() -> None:
        running = asyncio.create_task(controller.run())
        async with asyncio.timeout(LIMIT_SECONDS):
            while not server.is_given_up:
                await asyncio.sleep(SAMPLE_SECONDS)
        running.cancel()

    asyncio.run(run())
    record = board.admission.read()
    assert (record.vision_calls, record.feedback_calls) == (0, 0)


class Unloading(OllamaServer):
    """A server on which no model is installed."""

    loads = 0

    async def listed(self) -> ModelsListed | ListFailed:
        return ModelsListed((), time.monotonic())

    async def load(self, *_: object) -> bool:
        self.loads += 1
        return False


def test_of_several_failed_loads_the_first_one_is_logged() -> None:
    """A model that is not installed is tried every few seconds, and the log is not filled with it."""
    server, lines = Unloading(URL, 1.0), list[str]()
    policy = AdmissionPolicy(V, F, sample_seconds=SAMPLE_SECONDS, probe_seconds=0.0)
    state = MonitorState(polled_at_seconds=1.0, backlog=StepBacklog(feedback_jobs=1))
    log = EventLog("INFO", lines.append)
    controller = controller_of(policy, server, state, DatabaseRequests(), log=log)

    async def run() -> None:
        running = asyncio.create_task(controller.run())
        async with asyncio.timeout(LIMIT_SECONDS):
            while server.loads < 4:
                await asyncio.sleep(SAMPLE_SECONDS)
        running.cancel()

    asyncio.run(run())
    assert len([line for line in lines if "model_loaded" in line]) == 1
