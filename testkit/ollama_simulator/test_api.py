"""/_simulator: the interface for tests. The real server does not have it."""

from dataclasses import asdict

from aiohttp import web

from testkit.ollama_simulator.body import read_object
from testkit.ollama_simulator.call import Call
from testkit.ollama_simulator.host import Host
from testkit.ollama_simulator.runner import Runner
from testkit.ollama_simulator.simulator import SIMULATOR, Simulator
from testkit.ollama_simulator.wire import json_response


async def calls(http: web.Request) -> web.Response:
    return json_response([_public(call) for call in http.app[SIMULATOR].calls.calls])


async def reset_calls(http: web.Request) -> web.Response:
    http.app[SIMULATOR].calls.reset()
    return json_response({})


async def state(http: web.Request) -> web.Response:
    """`running` requests hold a slot, `waiting` ones wait for a slot or load. `max_in_flight` counts since the last reset.

    `runners` are all processes, also loading and dead ones, with the size in ps and the true size. `memory` is the host's.
    Sizes are in bytes, null without a limit.
    """
    simulator = http.app[SIMULATOR]
    loading = simulator.scheduler.loading
    running = {runner.model.name: runner.running for runner in simulator.scheduler.runners()}
    return json_response(
        {
            "num_parallel": simulator.settings.num_parallel,
            "loaded": list(running),
            "loading": loading.model.name if loading else None,
            "models": {name: _traffic(simulator, name, running.get(name, 0)) for name in simulator.catalogue.models},
            "runners": [_process(each) for each in (*simulator.scheduler.runners(), *([loading] if loading else []))],
            "memory": _memory(simulator.host),
        }
    )


async def add_fault(http: web.Request) -> web.Response:
    http.app[SIMULATOR].faults.add(read_object(await http.read(), "Fault"))
    return json_response({})


async def clear_faults(http: web.Request) -> web.Response:
    http.app[SIMULATOR].faults.clear()
    return json_response({})


async def set_listing(http: web.Request) -> web.Response:
    http.app[SIMULATOR].listing.set(read_object(await http.read(), "Listing"))
    return json_response({})


def _traffic(simulator: Simulator, name: str, running: int) -> dict[str, int]:
    in_flight = simulator.calls.in_flight[name]
    return {
        "running": running,
        "waiting": in_flight - running,
        "max_in_flight": simulator.calls.max_in_flight[name],
    }


def _process(runner: Runner) -> dict[str, object]:
    return {
        "model": runner.model.name,
        "is_dead": runner.is_dead,
        "users": runner.users,
        "reported_bytes": runner.footprint.reported_bytes,
        "true_bytes": runner.true_bytes,
        "prompt_cache_bytes": runner.footprint.cache_bytes,
    }


def _memory(host: Host) -> dict[str, int | None]:
    return {
        "total_bytes": host.memory_bytes,
        "used_bytes": host.used_bytes,
        "free_bytes": None if host.memory_bytes is None else host.memory_bytes - host.used_bytes,
        "returning_bytes": host.returning_bytes,
        "killed_runners": host.killed_runners,
    }


def _public(call: Call) -> dict[str, object]:
    return {name: value for name, value in asdict(call).items() if name != "started_ns"}
