"""What becomes of a bug in one of the tasks of the watch of Ollama."""

import asyncio

import pytest

from supervisor.core.admission.fact import Listed, Unlisted
from supervisor.core.admission.policy import Policy
from supervisor.journal import Journal
from supervisor.monitor.host import Host
from supervisor.monitor.ollama_server import OllamaServer
from supervisor.monitor.ollama_watch import OllamaWatch, Outlook
from supervisor.monitor.phase_keeper import PhaseKeeper
from supervisor.monitor.sight import Sight
from supervisor.monitor.waker import Waker
from supervisor.settings import parse
from tests.condition import PATIENCE_SECONDS
from worker.scoreboard import Scoreboard

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
