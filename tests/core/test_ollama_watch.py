"""What becomes of a bug in one of the tasks of the watch of Ollama."""

import asyncio

import pytest

from supervisor.admission.facts import Listed, Unlisted
from supervisor.admission.policy import Policy
from supervisor.event_log import Journal
from supervisor.monitor.ollama.controller import OllamaWatch, Outlook
from supervisor.monitor.ollama.host import Host
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.queue.model_lock import PhaseKeeper
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import Sight
from supervisor.settings.model import parse
from testkit.waiting import PATIENCE_SECONDS
from worker.ipc.scoreboard import Scoreboard

URL = "http://127.0.0.1:1"


class Broken(OllamaServer):
    """Its first look meets a bug."""

    async def listed(self) -> Listed | Unlisted:
        raise KeyError


def test_a_bug_in_a_task_ends_the_watch() -> None:
    """It is not swallowed with its task: the monitor ends, tells of it, and is replaced."""
    policy, board, sight = Policy("see:latest", "say:latest", sample_seconds=0.01), Scoreboard(), Sight()
    settings = parse({"LEARNING_DATABASE_URL": "postgresql://worker@127.0.0.1/nowhere"}).worker
    outlook = Outlook(policy, settings, Broken(URL, 1.0), Host(URL, None), PhaseKeeper("here", policy.models))
    watch = OllamaWatch(outlook, board, sight, Waker(board, []), Journal("ERROR", lambda _: None))

    async def watched() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await watch.run()

    with pytest.raises(KeyError):
        asyncio.run(watched())
