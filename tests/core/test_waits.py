"""Each wait of a worker has a bound of its own, which ends before the deadline that the worker has written down."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from supervisor.monitor.queue.listener import MONITOR_DEADLINE_SECONDS
from supervisor.settings.model import parse
from worker.core.outcome import Lease
from worker.documents import decoder, ink, sandbox, storage
from worker.held_lease import PERMIT_WAIT_SECONDS, HeldLease
from worker.ipc.contract import Step
from worker.ipc.scoreboard import Scoreboard
from worker.names import LOOKUP_SECONDS
from worker.ollama import client
from worker.queue.bounded import REPLY_TIMEOUT_SECONDS
from worker.queue.hosts import CONNECT_SECONDS
from worker.queue.permits import HeldPermit, Permits, StepStart
from worker.rivals import RefusedAccesses
from worker.session import CONNECT_DEADLINE_SECONDS, MAX_WAIT_SECONDS
from worker.timeouts import (
    DEADLINE_SLACK_SECONDS,
    READ_DEADLINE_SECONDS,
    STATEMENT_DEADLINE_SECONDS,
    page_limit_seconds,
)

SETTINGS = parse({"AI_BACKEND": "stub", "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning"}).worker
FILE_SECONDS = max(storage.DOWNLOAD_SECONDS, decoder.READ_SECONDS)
PICTURE_SECONDS = FILE_SECONDS + decoder.PAGE_SECONDS + sandbox.END_SECONDS  # a child that cannot end has sent no file
TWO_CONNECTIONS_SECONDS = LOOKUP_SECONDS + 2 * CONNECT_SECONDS + REPLY_TIMEOUT_SECONDS  # the second behind a pooler
BOUNDS = {
    "connect, a pooler in between": (TWO_CONNECTIONS_SECONDS + MAX_WAIT_SECONDS, CONNECT_DEADLINE_SECONDS),
    "two requests after a reconnect": (2 * REPLY_TIMEOUT_SECONDS + MAX_WAIT_SECONDS, CONNECT_DEADLINE_SECONDS),
    "a statement or a pipeline": (REPLY_TIMEOUT_SECONDS, STATEMENT_DEADLINE_SECONDS),
    "a permit": (PERMIT_WAIT_SECONDS + REPLY_TIMEOUT_SECONDS, STATEMENT_DEADLINE_SECONDS),
    "the model's digest": (client.LOOKUP_SECONDS, READ_DEADLINE_SECONDS),
    "the model's digest, a file and its first picture with another child": (
        client.LOOKUP_SECONDS + PICTURE_SECONDS + decoder.RETRY_SECONDS + sandbox.END_SECONDS,
        READ_DEADLINE_SECONDS,
    ),
    "a later picture with another child": (decoder.PAGE_SECONDS + decoder.RETRY_SECONDS, PICTURE_SECONDS),
    "the next picture": (PICTURE_SECONDS, READ_DEADLINE_SECONDS),
    "a smaller picture, the call and the picture's ink": (
        decoder.PAGE_SECONDS + sandbox.END_SECONDS + SETTINGS.ai_timeout_vision + ink.INK_SECONDS + sandbox.END_SECONDS,
        page_limit_seconds(SETTINGS) + DEADLINE_SLACK_SECONDS,
    ),
    "the monitor's connection": (TWO_CONNECTIONS_SECONDS, MONITOR_DEADLINE_SECONDS),
    "the monitor's connection and LISTEN": (
        LOOKUP_SECONDS + CONNECT_SECONDS + 2 * REPLY_TIMEOUT_SECONDS,
        MONITOR_DEADLINE_SECONDS,
    ),
}


@pytest.mark.parametrize("what", BOUNDS)
def test_the_sum_of_the_bounds_is_below_the_deadline(what: str) -> None:
    """The worker then ends with an outcome that has a name, and is not killed."""
    own_seconds, deadline_seconds = BOUNDS[what]
    assert own_seconds < deadline_seconds


class _Asked:
    """The worker's session and report, of which the order of the calls is kept."""

    def __init__(self, *replies: Any) -> None:
        self.calls: list[str] = []
        self._replies = iter(replies)

    def ask(self, *_: Any, **__: Any) -> Any:
        self.calls.append("ask")
        return next(self._replies)

    def enter_activity(self, *_: Any) -> None:
        self.calls.append("enter")

    def count(self, *_: Any) -> None:
        """Counts no accepted write, because no other job asks for it."""


def test_each_request_of_a_step_has_a_deadline_of_its_own() -> None:
    """The renewal without a permit, the wait for one, and the renewal after the wait: a slow one takes no time from the next."""
    permit = HeldPermit(1)
    asked = _Asked(StepStart(True, None), None, StepStart(True, permit))
    ctx: Any = SimpleNamespace(
        session=asked,
        report=asked,
        settings=SETTINGS,
        wiring=SimpleNamespace(slot=0, scoreboard=Scoreboard()),
        admission=SimpleNamespace(calls=lambda _: 1),
        permits=lambda *_: Permits(1, 1),
        stop_by_seconds=lambda: None,
    )
    held = HeldLease(ctx, Lease(UUID(int=1), UUID(int=2), UUID(int=3), {}, 0), 0.0, RefusedAccesses(ctx.wiring.scoreboard))
    held.start_step(Step.FEEDBACK, 10, "model")
    assert held.permit is permit
    assert asked.calls == [*["enter", "ask"] * 3, "enter"]
