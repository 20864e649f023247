"""The two HTTP servers: /metrics and /healthz on STATUS_ADDR, status and commands on the instance's Unix socket."""

import asyncio
import functools
import ipaddress
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import ValidationError

from supervisor.event_log import EventLog
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.pending_commands import PendingCommands, Unanswered
from worker.ipc.channel import Command, RecycleCommand, ReloadCommand, ScaleCommand

RETRY_SECONDS = 5.0
BODY_SECONDS = 2.0
SOCKET_CHECK_SECONDS = 1.0
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"

COMMANDS: dict[str, type[Command]] = {"/scale": ScaleCommand, "/recycle": RecycleCommand, "/reload": ReloadCommand}
HTTP_STATUSES = {"accepted": 202, "stopping": 409, "no_worker": 409, "wrong_settings": 422, "needs_restart": 422}


Site = TypeVar("Site", bound=web.BaseSite)
Snapshot = Callable[[], dict[str, Any]]


async def serve_metrics(
    address: str, metrics: Metrics, snapshot: Snapshot, on_bound: Callable[[str], None], event_log: EventLog
) -> None:
    """Serves until cancelled. If the port is taken, that is logged and the bind retried: jobs do not depend on metrics."""

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": EXPOSITION})

    async def show_health(_request: web.Request) -> web.Response:
        state, message = (snapshot()[key] for key in ("state", "message"))
        return web.json_response({"state": state, "message": message}, status=200 if state in {"ok", "degraded"} else 503)

    runner = await _runner([web.get("/metrics", show_metrics), web.get("/healthz", show_health)], _no_foreign_hosts)
    host, _, port = address.rpartition(":")
    remedy = "free the address, or set STATUS_ADDR to another one"
    report = functools.partial(event_log.cannot_listen, address=address, remedy=remedy)
    await _bind(lambda: web.TCPSite(runner, host.strip("[]"), int(port)), RETRY_SECONDS, report)
    bound_host, bound_port = runner.addresses[0][:2]
    on_bound(f"{bound_host}:{bound_port}")
    await asyncio.Event().wait()


async def serve_control(path: Path, snapshot: Snapshot, commands: PendingCommands, event_log: EventLog) -> None:
    """Serves until cancelled, also after the socket file was removed. Access to the socket is permission to send commands."""

    async def show_status(_request: web.Request) -> web.Response:
        return web.json_response(snapshot())

    async def run_command(request: web.Request) -> web.Response:
        """400: invalid command. 409: not possible now. 422: wrong settings. 504: no result in time, see `outcome`."""
        fields = await _json_object(request)
        try:
            command = COMMANDS[request.path].model_validate({**fields, **commands.stamp()})
        except ValidationError as error:
            return web.json_response({"problems": [_problem(dict(each)) for each in error.errors()]}, status=400)
        result = await commands.send(command)
        if isinstance(result, Unanswered):
            return web.json_response({"outcome": result.name.lower(), "problems": [result.value]}, status=504)
        return web.json_response(result.model_dump(exclude={"kind", "number"}), status=HTTP_STATUSES[result.outcome])

    runner = await _runner(
        [web.get("/status", show_status), *(web.post(path, run_command) for path in COMMANDS)], _errors_as_json
    )
    remedy = "make RUNTIME_DIRECTORY writable: until then status and commands do not reach this instance"
    report = functools.partial(event_log.cannot_listen, address=str(path), remedy=remedy)
    while True:
        site = await _bind(lambda: _control_site(runner, path), SOCKET_CHECK_SECONDS, report)
        await _until_replaced(path)
        await site.stop()


def _control_site(runner: web.AppRunner, path: Path) -> web.SockSite:
    """Bind the socket for this user only, whatever the umask. No client can connect before it listens, which is later."""
    path.unlink(missing_ok=True)  # left by an earlier monitor of this instance
    control = socket.socket(socket.AF_UNIX)
    try:
        control.bind(str(path))
        path.chmod(0o600)
    except OSError:
        control.close()
        raise
    return web.SockSite(runner, control)


async def _until_replaced(path: Path) -> None:
    """Waits until the name leads to another file than now, or to none."""
    bound = _file_at(path)
    while bound is not None and _file_at(path) == bound:
        await asyncio.sleep(SOCKET_CHECK_SECONDS)


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def _json_object(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body, empty if there is no body. Raises web.HTTPException with the reason."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = json.loads(await request.text() or "{}")
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason="the body is shorter than its Content-Length") from None
    except (ValueError, LookupError, RecursionError) as error:  # no JSON, an unknown charset, too deep
        raise web.HTTPBadRequest(reason=f"the body is no JSON object ({type(error).__name__})") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(reason="the body is no JSON object")
    return body


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer each rejected request by one line of JSON."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return web.json_response({"problems": [error.reason]}, status=error.status)


@web.middleware
async def _no_foreign_hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject a page of another site that has pointed its own name to this host (DNS rebinding)."""
    if not is_own_host(request.headers.get("Host", ""), socket.gethostname()):
        return web.Response(status=421, text="use the name of this host, localhost or an IP address\n")
    return await handler(request)


def is_own_host(header: str, own_name: str) -> bool:
    """Accept what no other site can own: no host, an IP address, localhost, and this host's name with or without its domain."""
    name, _, port = header.rpartition(":")
    name = (name if port.isdecimal() and name else header).lower().rstrip(".")
    own = own_name.lower()
    return name in {"", "localhost", own, own.partition(".")[0]} or _is_ip_address(name.strip("[]"))


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _problem(error: dict[str, Any]) -> str:
    return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"


async def _runner(routes: list[web.RouteDef], middleware: Middleware) -> web.AppRunner:
    app = web.Application(client_max_size=4096, middlewares=[middleware])
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=5.0, shutdown_timeout=0.5)
    await runner.setup()
    return runner


async def _bind(make_site: Callable[[], Site], retry_seconds: float, report: Callable[..., None]) -> Site:
    """Tries until the site listens. Each new reason for a failure is reported once."""
    reported = 0
    while True:
        try:
            site = make_site()
            await site.start()
        except OSError as error:
            if error.errno != reported:
                report(errno=error.errno)
            reported = error.errno or 0
            await asyncio.sleep(retry_seconds)
        else:
            return site
