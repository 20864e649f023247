"""The admission controller: a bug in one of its tasks, and its requests for the model lock."""

import asyncio
import time
from contextlib import suppress

import pytest

from supervisor.admission.decision import AcquireModelLock
from supervisor.admission.facts import HostMeasured, ListFailed, ModelsListed
from supervisor.admission.policy import AdmissionPolicy
from supervisor.event_log import EventLog
from supervisor.monitor.ollama.controller import AdmissionController, AdmissionDependencies
from supervisor.monitor.ollama.host import Host
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.queue.requests import DatabaseRequest, DatabaseRequests
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from supervisor.settings.model import parse
from testkit.waiting import LIMIT_SECONDS
from tests.inputs.alarm import alarmed
from worker.ipc.contract import CallOutcome, ModelCall, Step
from worker.ipc.scoreboard import Scoreboard
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
    policy: AdmissionPolicy, server: OllamaServer, state: MonitorState, requests: DatabaseRequests, host: Host | None = None
) -> AdmissionController:
    board = Scoreboard()
    settings = parse({"AI_BACKEND": "stub", "LEARNING_DATABASE_URL": "postgresql://worker@127.0.0.1/nowhere"}).worker
    dependencies = AdmissionDependencies(policy, settings, server, host or Host(URL, None), requests)
    return AdmissionController(dependencies, board, state, Waker(board, []), EventLog("ERROR", lambda _: None))


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
