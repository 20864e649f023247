"""The two servers: /metrics and /healthz on loopback; the status document and orders on the instance's own Unix socket."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from supervisor.event_log import EventLog
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.pending_commands import PendingCommands
from worker.ipc.channel import Command, RecycleCommand, ReloadCommand, ScaleCommand

RETRY_SECONDS = 5.0
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"

ORDERS: dict[str, type[Command]] = {"/scale": ScaleCommand, "/recycle": RecycleCommand, "/reload": ReloadCommand}
STATUSES = {"accepted": 202, "stopping": 409, "no_worker": 409, "wrong_settings": 422}

Snapshot = Callable[[], dict[str, Any]]


async def serve_metrics(
    address: str, metrics: Metrics, snapshot: Snapshot, on_bound: Callable[[str], None], journal: EventLog
) -> None:
    """Until cancelled. A taken port is told and tried again: the work does not depend on who looks at it."""

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": EXPOSITION})

    async def show_health(_request: web.Request) -> web.Response:
        state, sentence = (snapshot()[key] for key in ("state", "sentence"))
        return web.json_response({"state": state, "sentence": sentence}, status=200 if state in {"ok", "degraded"} else 503)

    runner = await _runner([web.get("/metrics", show_metrics), web.get("/healthz", show_health)])
    host, _, port = address.rpartition(":")
    await _bound(lambda: web.TCPSite(runner, host.strip("[]"), int(port)), address, journal)
    bound_host, bound_port = runner.addresses[0][:2]
    on_bound(f"{bound_host}:{bound_port}")
    await asyncio.Event().wait()


async def serve_control(path: Path, snapshot: Snapshot, orders: PendingCommands, journal: EventLog) -> None:
    """Until cancelled. The socket lies in a private directory: who can reach it may know, and may order."""

    async def show_status(_request: web.Request) -> web.Response:
        return web.json_response(snapshot())

    async def take_order(request: web.Request) -> web.Response:
        """400: no such order; 409: not possible now; 422: wrong settings; 504: no answer."""
        given = await _object_in(request)
        try:
            order = ORDERS[request.path].model_validate({**given, "number": orders.next_number()})
        except ValidationError as error:
            return web.json_response({"problems": [_problem(dict(each)) for each in error.errors()]}, status=400)
        answer = await orders.place(order)
        if answer is None:
            return web.json_response({"problems": ["the supervisor does not answer"]}, status=504)
        return web.json_response(answer.model_dump(exclude={"kind", "number"}), status=STATUSES[answer.outcome])

    def site() -> web.UnixSite:
        path.unlink(missing_ok=True)  # a predecessor of this instance left it
        return web.UnixSite(runner, path)

    runner = await _runner([web.get("/status", show_status), *(web.post(path, take_order) for path in ORDERS)])
    await _bound(site, str(path), journal)
    await asyncio.Event().wait()


async def _object_in(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; an empty one where there is no body, or another thing."""
    try:
        given = await request.json()
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def _problem(error: dict[str, Any]) -> str:
    """The field and what is wrong with it."""
    return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"


async def _runner(routes: list[web.RouteDef]) -> web.AppRunner:
    app = web.Application(client_max_size=4096)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=5.0, shutdown_timeout=0.5)
    await runner.setup()
    return runner


async def _bound(make: Callable[[], web.BaseSite], address: str, journal: EventLog) -> None:
    while True:
        try:
            await make().start()
        except OSError as error:
            journal.cannot_listen(address=address, errno=error.errno)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
