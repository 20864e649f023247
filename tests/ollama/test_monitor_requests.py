"""The monitor's requests to Ollama: list, load, unload, probe. Each ends in time, with any reply."""

import asyncio
import base64
import io
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from PIL import Image

from supervisor.admission.breaker import PROBE_SILENT
from supervisor.admission.facts import ListError, ListFailed, ModelsListed
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.outgoing import RequestEnd
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.raw_server import Peer, raw_server, silent_address, status
from worker.ipc.contract import ModelCall
from worker.ollama.api import MAX_LIST_BYTES, probe_request
from worker.ollama.client import ChatRequest, Ollama, deadline_in
from worker.ollama.repetition import DOCUMENT_CHARACTERS

LOAD_SECONDS, TRY_SECONDS = 20.0, 0.2
INVALID = {
    "no JSON": b"<html>",
    "another JSON": b'{"models": "none"}',
    "a negative size": b'{"models": [{"name": "a", "size": -1}]}',
    "no size": b'{"models": [{"name": "a"}]}',
    "a name that would break a log line": b'{"models": [{"name": "a\\n[/]", "size": 1}]}',
    "endless depth": b"[" * 100_000,
    "too much": b'{"models": [' + b" " * MAX_LIST_BYTES + b"]}",
}


def listed(url: str) -> ModelsListed | ListFailed:
    return asyncio.run(OllamaServer(url, LOAD_SECONDS).listed())


def silence(url: str) -> ListError | None:
    seen = listed(url)
    return seen.why if isinstance(seen, ListFailed) else None


def names(url: str) -> list[str]:
    seen = listed(url)
    assert isinstance(seen, ModelsListed)
    return [model.name for model in seen.models]


def test_the_list_of_loaded_models(simulator: SimulatorProcess) -> None:
    """Name, digest, size and context are those of /api/ps."""
    asyncio.run(OllamaServer(simulator.url, LOAD_SECONDS).load("chain", {"num_ctx": 2048}))
    seen = listed(simulator.url)
    assert isinstance(seen, ModelsListed)
    (model,) = seen.models
    (runner,) = simulator.state()["runners"]
    assert (model.name, model.size_bytes, model.context_tokens) == ("chain:latest", runner["reported_bytes"], 2048)
    assert len(model.digest) == 64


def test_a_stopped_server_is_unreachable() -> None:
    """A refused connection is noticed at once."""
    with raw_server() as url:
        pass
    assert silence(url) is ListError.UNREACHABLE


def test_a_request_to_a_silent_server_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent and a trickling server: the request ends in time."""
    monkeypatch.setattr("supervisor.monitor.ollama.server.LIST_SECONDS", 0.2)

    def silent(peer: Peer) -> None:
        peer.request()
        peer.wait_for_its_end()

    def trickling(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        peer.send_until_it_leaves(b" ", 0.05)

    with raw_server(silent, trickling) as url:
        assert [silence(url), silence(url)] == [ListError.LATE, ListError.LATE]


@pytest.mark.parametrize("what", INVALID)
def test_an_invalid_list(what: str) -> None:
    """An invalid reply is an error, and no more than the limit is read of it."""
    assert _silence_after(status(200, INVALID[what])) is ListError.INVALID


@pytest.mark.parametrize("odd", ["a negative size", "no size", "a name that would break a log line"])
def test_an_odd_entry_is_skipped(odd: str) -> None:
    """The other loaded models of the list are seen."""
    entry = INVALID[odd].removesuffix(b"]}")

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(status(200, entry + b', {"name": "chain:latest", "size": 1}]}'))

    with raw_server(script) as url:
        assert names(url) == ["chain:latest"]


def test_an_error_is_no_list() -> None:
    """The body of an error is not parsed, even if it is a valid list."""
    assert _silence_after(status(500, b'{"models": []}')) is ListError.INVALID


def _silence_after(answer: bytes) -> ListError | None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer)

    with raw_server(script) as url:
        return silence(url)


def test_load_and_unload(simulator: SimulatorProcess) -> None:
    """The load is answered when the model is loaded. After the unload the list no longer contains it."""
    server = OllamaServer(simulator.url, LOAD_SECONDS)
    assert asyncio.run(server.load("chain", {}))
    assert names(simulator.url) == ["chain:latest"]
    assert asyncio.run(server.unload("chain"))
    while names(simulator.url):
        pass


def test_no_larger_window_than_the_model_has(simulator: SimulatorProcess) -> None:
    """The preload asks for the model's window if the settings' is larger, and the list has both, read by another monitor too."""
    asyncio.run(OllamaServer(simulator.url, LOAD_SECONDS).load("narrow", {"num_ctx": 17_408}))
    assert [call["num_ctx"] for call in simulator.calls()] == [8192]
    seen = listed(simulator.url)
    assert isinstance(seen, ModelsListed)
    assert [(model.context_tokens, model.largest_context_tokens) for model in seen.models] == [(8192, 8192)]


def test_a_job_after_a_preload_does_not_load(simulator: SimulatorProcess) -> None:
    """With the adapters' own options the server keeps the preloaded model: the call has no load time."""
    reported: list[ModelCall] = []
    options = {"num_ctx": 2048, "num_thread": 2}
    asyncio.run(OllamaServer(simulator.url, LOAD_SECONDS).load("chain", options))
    request = ChatRequest("chain", ({"role": "user", "content": "hello"},), options, 16, DOCUMENT_CHARACTERS)
    (before,) = simulator.state()["runners"]
    Ollama(simulator.url, lambda: None, reported.append).chat(request, deadline_in(LOAD_SECONDS))
    assert simulator.state()["runners"][0]["reported_bytes"] == before["reported_bytes"]
    assert [(call.load_seconds or 0.0) < 0.01 for call in reported] == [True]


def test_a_failed_request_raises_nothing(monkeypatch: pytest.MonkeyPatch, simulator: SimulatorProcess) -> None:
    """A missing model, a broken connection, silence and invalid replies: the result is False."""
    monkeypatch.setattr("supervisor.monitor.ollama.server.UNLOAD_SECONDS", 0.2)
    assert not asyncio.run(OllamaServer(simulator.url, LOAD_SECONDS).load("nobody", {}))

    def breaking_off(peer: Peer) -> None:
        peer.request()

    def nonsense(peer: Peer) -> None:
        peer.request()
        peer.send(status(200, b"[]"))

    def endless_depth(peer: Peer) -> None:
        peer.request()
        peer.send(status(200, b"[" * 60_000))

    with raw_server(breaking_off, Peer.wait_for_its_end, nonsense, endless_depth) as url:
        assert [asyncio.run(OllamaServer(url, LOAD_SECONDS).unload("chain")) for _ in range(4)] == [False] * 4


def test_a_server_that_cannot_be_reached_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that drops each packet makes no connection, which differs from a server that is only slow to answer."""
    monkeypatch.setattr("supervisor.monitor.ollama.server.LIST_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with silent_address("127.0.0.1", port):
        assert silence(f"http://127.0.0.1:{port}") is ListError.UNREACHABLE


# Probes


def probe(url: str, model: str = "chain", *, has_picture: bool = False, timeout_seconds: float = LOAD_SECONDS) -> RequestEnd:
    server = OllamaServer(url, LOAD_SECONDS)
    return asyncio.run(
        server.probe(model, {"num_ctx": 2048}, has_picture=has_picture, try_seconds=TRY_SECONDS, timeout_seconds=timeout_seconds)
    )


def sizes(simulator: SimulatorProcess) -> dict[str, int]:
    """By model, without the prompt cache: another window would be another size."""
    return {runner["model"]: runner["reported_bytes"] for runner in simulator.state()["runners"]}


@pytest.mark.parametrize(("model", "has_picture"), [("chain", False), ("chain-vision", True)])
def test_a_probe_asks_for_one_token_and_loads_nothing_again(simulator: SimulatorProcess, model: str, has_picture: bool) -> None:
    """With the options of all requests. The vision model is asked about a picture that each decoder accepts."""
    asyncio.run(OllamaServer(simulator.url, LOAD_SECONDS).load(model, {"num_ctx": 2048}))
    simulator.reset_calls()
    before = sizes(simulator)
    assert probe(simulator.url, model, has_picture=has_picture) == RequestEnd()
    assert sizes(simulator) == before
    (call,) = simulator.calls()
    assert (call["is_empty"], call["has_image"], call["outcome"]) == (False, has_picture, "done")


def test_the_picture_of_a_probe_is_a_picture() -> None:
    """As large as the patches into which models cut one."""
    (encoded,) = probe_request("chain-vision", {}, has_picture=True)["images"]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        picture.load()
        assert picture.size == (64, 64)


LOST = 2  # tries
PROBE_FAULTS = {
    "status_500": "ServerError",
    "status_503": "Unavailable",
    "status_404": "ModelMissing",
    "disconnect": "ServerUnreachable",
}


@pytest.mark.parametrize("fault", PROBE_FAULTS)
def test_a_failed_probe_names_its_class(simulator: SimulatorProcess, fault: str) -> None:
    """The class is that which a job's call would have."""
    simulator.fault(fault, model="chain")
    assert probe(simulator.url) == RequestEnd(PROBE_FAULTS[fault])


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("9999", 60.0), ("soon", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)]
)
@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_names_the_pause(code: int, header: str, seconds: float) -> None:
    """In seconds, and at most a minute."""

    def describe(peer: Peer) -> None:
        peer.request()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(f"HTTP/1.1 {code} X\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode())

    with raw_server(describe, script) as url:
        assert probe(url) == RequestEnd("Unavailable", seconds)


def test_a_try_that_is_never_answered_does_not_hide_a_return() -> None:
    """A request from before the return may be lost, while the model answers a new one."""

    async def ask() -> RequestEnd:
        connections: list[asyncio.StreamReader] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(reader)
            if len(connections) > LOST:
                writer.write(status(200, b'{"done": true}'))
            else:
                await reader.read()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            server = OllamaServer(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", LOAD_SECONDS)
            return await server.probe("chain", {}, has_picture=False, try_seconds=TRY_SECONDS, timeout_seconds=LOAD_SECONDS)

    assert asyncio.run(ask()) == RequestEnd()


def test_tries_that_fail_at_once_are_few() -> None:
    """While the first try waits, a server that rejects each further one at once is asked about once a second."""
    connections: list[asyncio.StreamReader] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(reader)
        if len(connections) > LOST:
            writer.write(status(500, b""))
        else:
            await reader.read()
        writer.close()

    async def ask() -> RequestEnd:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            server = OllamaServer(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", LOAD_SECONDS)
            return await server.probe("chain", {}, has_picture=False, try_seconds=TRY_SECONDS, timeout_seconds=2)

    assert asyncio.run(ask()) == RequestEnd(PROBE_SILENT)
    assert LOST < len(connections) <= LOST + 3


def test_a_silent_model_fails_its_probe() -> None:
    """With the class that lets the rules unload it."""
    with raw_server(Peer.wait_for_its_end, Peer.wait_for_its_end) as url:
        assert probe(url, timeout_seconds=TRY_SECONDS) == RequestEnd(PROBE_SILENT)


@pytest.mark.parametrize("silent", [b"/api/show", b"/api/generate"])
@pytest.mark.parametrize(
    ("started", "ended"),
    [
        (lambda server: server.load("chain", {}), False),
        (
            lambda server: server.probe("chain", {}, has_picture=False, try_seconds=600.0, timeout_seconds=600.0),
            RequestEnd("ServerUnreachable"),
        ),
    ],
    ids=["load", "probe"],
)
def test_a_load_and_a_probe_are_given_up(
    silent: bytes, started: Callable[[OllamaServer], Coroutine[Any, Any, bool | RequestEnd]], ended: bool | RequestEnd
) -> None:
    """Their connections are dead after the server was away, in each of their requests. Their own timeouts are minutes long."""
    is_asked = threading.Event()

    def script(peer: Peer) -> None:
        if silent not in peer.request(skips_descriptions=False):
            return peer.send(status(200, b"{}"))
        is_asked.set()
        return peer.wait_for_its_end()

    async def give_up(url: str) -> bool | RequestEnd:
        server = OllamaServer(url, load_seconds=600.0)
        task = asyncio.create_task(started(server))
        await asyncio.to_thread(is_asked.wait, LOAD_SECONDS)
        server.give_up()
        async with asyncio.timeout(LOAD_SECONDS):
            return await task

    with raw_server(script, script) as url:
        assert asyncio.run(give_up(url)) == ended


@pytest.mark.parametrize("count", [100, pytest.param(2_000, marks=pytest.mark.second_tier)])
def test_a_list_in_the_instant_of_its_timeout(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """It is a list or too late, and a stop of the monitor in the same instant ends the request and is not taken for a timeout."""
    seconds = 0.01
    monkeypatch.setattr("supervisor.monitor.ollama.server.LIST_SECONDS", seconds)
    delays_seconds = iter([seconds * (0.6 + 0.8 * number / count) for number in range(count)])

    def script(peer: Peer) -> None:
        peer.request()
        time.sleep(next(delays_seconds))
        peer.send(status(200, b'{"models": []}'))

    async def ask(number: int) -> str:
        task = asyncio.create_task(OllamaServer(url, LOAD_SECONDS).listed())
        if number % 2:
            await asyncio.sleep(seconds)
            is_cancelled = task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() is is_cancelled
            return "cancelled" if is_cancelled else "in time"
        answer = await task
        assert not isinstance(answer, ListFailed) or answer.why in {ListError.LATE, ListError.UNREACHABLE}  # late connecting
        return type(answer).__name__

    with raw_server(*[script] * count) as url:
        found = {asyncio.run(ask(number)) for number in range(count)}
    assert found <= {"ModelsListed", "ListFailed", "cancelled", "in time"}
