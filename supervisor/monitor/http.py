"""The two HTTP servers: /metrics and /healthz on STATUS_ADDR, status and commands on the instance's Unix socket."""

import asyncio
import functools
import ipaddress
import json
import socket
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import ValidationError

from supervisor.event_log import EventLog
from supervisor.monitor.metrics import Metrics
from worker.ipc import channel
from worker.ipc.channel import Command, CommandResult, RecycleCommand, ReloadCommand, ScaleCommand

RETRY_SECONDS = 5.0
BODY_SECONDS = 2.0
SOCKET_CHECK_SECONDS = 1.0
TAKE_SECONDS = 5.0  # far above one turn of the supervisor's loop, in which it takes a command and answers
RESULT_SECONDS = 2.0  # for the answer after the supervisor has taken the command
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"

COMMANDS: dict[str, type[Command]] = {"/scale": ScaleCommand, "/recycle": RecycleCommand, "/reload": ReloadCommand}
HTTP_STATUSES = {"accepted": 202, "stopping": 409, "no_worker": 409, "wrong_settings": 422}


class Unanswered(Enum):
    """Reason why a command has no result, for the operator."""

    WITHDRAWN = "the supervisor did not take the command within 5 s, so it is not carried out: look at `status`, then repeat it"
    UNKNOWN = "the supervisor took the command and has not answered, so it may be carried out: look at `status`"


Site = TypeVar("Site", bound=web.BaseSite)
Snapshot = Callable[[], dict[str, Any]]


class PendingCommands:
    """The command that the supervisor has not answered yet. One is sent at a time, because the token has room for one.

    A command that the supervisor does not take before its end is withdrawn: the token decides which of the two processes
    was first, also if the supervisor is suspended and continues at that moment.
    """

    def __init__(self, channel_fd: int, token_fd: int) -> None:
        self._channel_fd, self._token_fd, self._last_number = channel_fd, token_fd, 0
        self._results: dict[int, asyncio.Future[CommandResult]] = {}
        self._turn = asyncio.Lock()

    def stamp(self) -> dict[str, float]:
        """Return the number and the end of a new command. The wait for its turn counts."""
        self._last_number += 1
        return {"number": self._last_number, "until_seconds": time.monotonic() + TAKE_SECONDS}

    async def send(self, command: Command) -> CommandResult | Unanswered:
        try:
            async with asyncio.timeout_at(command.until_seconds):
                await self._turn.acquire()
        except TimeoutError:
            return Unanswered.WITHDRAWN
        result: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._results[command.number] = result
        try:
            return await self._exchange(command, result)
        finally:
            channel.take(self._token_fd, command.number)  # also if this task is cancelled
            del self._results[command.number]
            self._turn.release()

    async def _exchange(self, command: Command, result: "asyncio.Future[CommandResult]") -> CommandResult | Unanswered:
        channel.offer(self._token_fd, command.number)
        if channel.send(self._channel_fd, command):
            await asyncio.wait([result], timeout=command.until_seconds - time.monotonic())
        if not result.done() and channel.take(self._token_fd, command.number):
            return Unanswered.WITHDRAWN
        await asyncio.wait([result], timeout=RESULT_SECONDS)
        return result.result() if result.done() else Unanswered.UNKNOWN

    def set_result(self, result: CommandResult) -> None:
        pending = self._results.get(result.number)
        if pending is not None and not pending.done():
            pending.set_result(result)


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
