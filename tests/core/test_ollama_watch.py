"""What becomes of a bug in one of the tasks of the watch of Ollama."""

import asyncio

import pytest

from supervisor.admission.facts import ListFailed, ModelsListed
from supervisor.admission.policy import AdmissionPolicy
from supervisor.event_log import EventLog
from supervisor.monitor.ollama.controller import AdmissionController, AdmissionDependencies
from supervisor.monitor.ollama.host import Host
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.queue.model_lock import ModelLockClient
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from supervisor.settings.model import parse
from testkit.waiting import LIMIT_SECONDS
from worker.ipc.scoreboard import Scoreboard

URL = "http://127.0.0.1:1"


class Broken(OllamaServer):
    """Its first look meets a bug."""

    async def listed(self) -> ModelsListed | ListFailed:
        raise KeyError


def test_a_bug_in_a_task_ends_the_watch() -> None:
    """It is not swallowed with its task: the monitor ends, tells of it, and is replaced."""
    policy, board, sight = AdmissionPolicy("see:latest", "say:latest", sample_seconds=0.01), Scoreboard(), MonitorState()
    settings = parse({"LEARNING_DATABASE_URL": "postgresql://worker@127.0.0.1/nowhere"}).worker
    dependencies = AdmissionDependencies(
        policy, settings, Broken(URL, 1.0), Host(URL, None), ModelLockClient("here", policy.models)
    )
    watch = AdmissionController(dependencies, board, sight, Waker(board, []), EventLog("ERROR", lambda _: None))

    async def watched() -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await watch.run()

    with pytest.raises(KeyError):
        asyncio.run(watched())
