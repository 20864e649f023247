"""The server: routes, start and end."""

import asyncio
import signal

from aiohttp import web
from aiohttp.typedefs import Handler

from testkit.ollama_simulator import completion, models_api, test_api
from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.apply_fault import forever
from testkit.ollama_simulator.settings import Settings
from testkit.ollama_simulator.simulator import SIMULATOR, build
from testkit.ollama_simulator.wire import error_response, text_response

MAX_BODY_BYTES = 256 * 2**20  # several times the largest document in base64, the real server has no limit
SHUTDOWN_SECONDS = 0.2  # requests that take longer are cancelled


def application(settings: Settings) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_as_ollama])
    app[SIMULATOR] = build(settings)
    app.on_response_prepare.append(_without_server_name)
    app.add_routes(
        [
            web.get("/", models_api.root),
            web.get("/api/version", models_api.version),
            web.get("/api/tags", models_api.tags),
            web.get("/api/ps", models_api.ps, allow_head=False),
            web.post("/api/show", models_api.show),
            web.post("/api/chat", completion.chat),
            web.post("/api/generate", completion.generate),
            web.get("/_simulator/calls", test_api.calls),
            web.delete("/_simulator/calls", test_api.reset_calls),
            web.get("/_simulator/state", test_api.state),
            web.post("/_simulator/faults", test_api.add_fault),
            web.delete("/_simulator/faults", test_api.clear_faults),
            web.post("/_simulator/listing", test_api.set_listing),
        ]
    )
    return app


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Prints its address as the only line on stdout. Raises OSError if the port is not free."""
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
    except ConnectionError:  # the client disconnected during a write, for which aiohttp would log a traceback
        await forever()  # aiohttp cancels this task because the connection is closed
        raise
    except web.HTTPNotFound:
        return text_response("404 page not found", 404)
    except web.HTTPMethodNotAllowed:
        return text_response("405 method not allowed", 405)


async def _without_server_name(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)
