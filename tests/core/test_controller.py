"""The admission controller after a bug in one of its tasks."""

import asyncio

import pytest

from supervisor.admission.facts import ListFailed, ModelsListed
from supervisor.admission.policy import AdmissionPolicy
from supervisor.event_log import EventLog
from supervisor.monitor.ollama.controller import AdmissionController, AdmissionDependencies
from supervisor.monitor.ollama.host import Host
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.queue.requests import DatabaseRequests
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from supervisor.settings.model import parse
from testkit.waiting import LIMIT_SECONDS
from worker.ipc.scoreboard import Scoreboard

URL = "http://127.0.0.1:1"


class Broken(OllamaServer):
    """A server whose first list request raises an unexpected exception."""

    async def listed(self) -> ModelsListed | ListFailed:
        raise KeyError


def test_a_bug_in_a_task_ends_the_controller() -> None:
    """The exception is not lost with its task: the monitor logs it, ends, and is replaced."""
    policy, board, state = AdmissionPolicy("vision:latest", "feedback:latest", sample_seconds=0.01), Scoreboard(), MonitorState()
    settings = parse({"LEARNING_DATABASE_URL": "postgresql://worker@127.0.0.1/nowhere"}).worker
    dependencies = AdmissionDependencies(policy, settings, Broken(URL, 1.0), Host(URL, None), DatabaseRequests())
    controller = AdmissionController(dependencies, board, state, Waker(board, []), EventLog("ERROR", lambda _: None))

    async def run() -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await controller.run()

    with pytest.raises(KeyError):
        asyncio.run(run())
