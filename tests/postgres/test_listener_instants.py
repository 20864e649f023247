"""The monitor's wait on its connection: what arrives in the instant of the timeout ends this wait or the next one."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from supervisor.event_log import EventLog
from supervisor.monitor.queue.listener import ConnectionUsers, QueueListener
from supervisor.monitor.queue.model_lock import ModelLockClient
from supervisor.monitor.queue.permit_watch import PermitWatch
from supervisor.monitor.queue.reclaimer import DEAD_INSTANCES_SECONDS, LeaseReclaimer
from supervisor.monitor.queue.refused_rows import RefusedRows
from supervisor.monitor.queue.requests import DatabaseRequests, PollSoon
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from supervisor.settings.model import parse
from testkit.database import Database
from worker.ipc.scoreboard import Scoreboard
from worker.queue.connection import AsyncConnection, connect_monitor
from worker.queue.leases import LeaseOwner
from worker.queue.polls import CHANNEL

pytestmark = pytest.mark.postgres
SCHEMAS = (2025,)  # sessions and locks are the same in each

WAIT_SECONDS = 0.003
Send = Callable[[DatabaseRequests, AsyncConnection], Awaitable[None]]


async def send_request(requests: DatabaseRequests, _sender: AsyncConnection) -> None:
    requests.send(PollSoon())


async def send_notification(_requests: DatabaseRequests, sender: AsyncConnection) -> None:
    await sender.execute(f"notify {CHANNEL}")


def listener_of(database: Database, requests: DatabaseRequests) -> QueueListener:
    log, board, state = EventLog("ERROR", lambda _line: None), Scoreboard(), MonitorState()
    settings = parse({"AI_BACKEND": "stub", "LEARNING_DATABASE_URL": database.worker_dsn}).worker
    permits = PermitWatch(settings, board, state, log)
    users = ConnectionUsers(
        requests,
        LeaseReclaimer(-1, Path(os.devnull), "", 2, log, RefusedRows()),
        ModelLockClient("", (), permits, lambda _model: None),
        permits,
        Waker(board, []),
        lambda: None,
    )
    return QueueListener(settings, board, LeaseOwner(1, 1), state, users, log)


@pytest.mark.parametrize("count", [150, pytest.param(3_000, marks=pytest.mark.second_tier)])
@pytest.mark.parametrize("send", [send_request, send_notification])
def test_an_arrival_in_the_instant_of_the_timeout(shared_database: Database, send: Send, count: int) -> None:
    """A request or a notification that comes between the timeout and the next wait is found before that wait, or ends it."""

    async def run() -> None:
        requests = DatabaseRequests()
        listener = listener_of(shared_database, requests)
        async with await listener._connect() as connection, await connect_monitor(shared_database.worker_dsn, "test") as sender:
            for number in range(count):
                listener._poll_at_seconds = time.monotonic() + WAIT_SECONDS
                at_seconds = listener._poll_at_seconds + 0.001 * (2 * number / count - 1)
                sending = asyncio.create_task(send_at(at_seconds, requests, sender))
                await listener._wait(connection)
                if not (taken := requests.take_all()):
                    listener._poll_at_seconds = began_at_seconds = time.monotonic() + DEAD_INSTANCES_SECONDS
                    await listener._wait(connection)
                    taken = requests.take_all()
                    assert time.monotonic() < began_at_seconds
                assert taken == [PollSoon()]
                await sending

    async def send_at(at_seconds: float, requests: DatabaseRequests, sender: AsyncConnection) -> None:
        await asyncio.sleep(at_seconds - time.monotonic())
        await send(requests, sender)

    asyncio.run(run())
