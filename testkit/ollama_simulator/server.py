"""Routes, and the life of the server from the first socket to the last."""

import asyncio
import signal

from aiohttp import web
from aiohttp.typedefs import Handler

from testkit.ollama_simulator import completion, inspection, inventory
from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.mishap import forever
from testkit.ollama_simulator.settings import Settings
from testkit.ollama_simulator.simulator import SIMULATOR, build
from testkit.ollama_simulator.wire import error_response, text_response

MAX_BODY_BYTES = 256 * 2**20  # the real server has no limit; this is several times the largest document, in base64
SHUTDOWN_SECONDS = 0.2  # for answers that are nearly out; what hangs is cancelled after it


def application(settings: Settings) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_as_ollama])
    app[SIMULATOR] = build(settings)
    app.on_response_prepare.append(_without_server_name)
    app.add_routes(
        [
            web.get("/", inventory.root),
            web.get("/api/version", inventory.version),
            web.get("/api/tags", inventory.tags),
            web.get("/api/ps", inventory.ps, allow_head=False),
            web.post("/api/show", inventory.show),
            web.post("/api/chat", completion.chat),
            web.post("/api/generate", completion.generate),
            web.get("/_simulator/calls", inspection.calls),
            web.delete("/_simulator/calls", inspection.reset_calls),
            web.get("/_simulator/state", inspection.state),
            web.post("/_simulator/faults", inspection.order_fault),
            web.delete("/_simulator/faults", inspection.clear_faults),
            web.post("/_simulator/listing", inspection.order_listing),
        ]
    )
    return app


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Says where it listens in one line on stdout, which is the only one. OSError: no such port."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(settings), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        print(f"listening on {_url(runner)}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def _url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@web.middleware
async def _as_ollama(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(error)
    except ConnectionError:  # the client left during a write; for aiohttp that would be a mistake of ours, with a traceback
        await forever()  # aiohttp cancels us for the connection that is gone
        raise
    except web.HTTPNotFound:
        return text_response("404 page not found", 404)
    except web.HTTPMethodNotAllowed:
        return text_response("405 method not allowed", 405)


async def _without_server_name(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)
