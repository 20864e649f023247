"""Each kind of fault, as its client meets it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.pending_call import pending_chat
from testkit.waiting import LIMIT_SECONDS, until

MESSAGES = [{"role": "user", "content": "Hallo"}]
LONG_TEXT = " ".join(["Satz"] * 40)


def chat(simulator: SimulatorProcess, **more: object) -> httpx.Response:
    return simulator.client.post("/api/chat", json={"model": "chain", "messages": MESSAGES, "stream": False, **more})


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def content_of(answer: httpx.Response) -> str:
    return "".join(line["message"]["content"] for line in lines(answer) if "message" in line)


@contextmanager
def streaming(simulator: SimulatorProcess, quiet_seconds: float = LIMIT_SECONDS, **more: object) -> Iterator[Iterator[str]]:
    """Yields the lines of a stream as they come, and closes the connection at the end or after `quiet_seconds` without a line."""
    request = {"model": "chain", "messages": MESSAGES, **more}
    with httpx.stream("POST", f"{simulator.url}/api/chat", json=request, trust_env=False, timeout=quiet_seconds) as answer:
        yield answer.iter_lines()


def running(simulator: SimulatorProcess) -> int:
    count: int = simulator.state()["models"]["chain:latest"]["running"]
    return count


def test_disconnect(simulator: SimulatorProcess) -> None:
    """The connection ends without a byte."""
    simulator.fault("disconnect")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        chat(simulator)
    until(lambda: [call["outcome"] for call in simulator.calls()] == ["disconnected"])


def test_silence(simulator: SimulatorProcess) -> None:
    """Half of the tokens come, and then nothing: no end, no error, and the slot is held."""
    complete = lines(chat(simulator, stream=True))
    simulator.fault("silence")
    with pytest.raises(httpx.ReadTimeout), streaming(simulator, quiet_seconds=0.5) as stream:  # noqa: PT012
        lines_before = [json.loads(next(stream)) for _ in range(len(complete) // 2)]
        assert [line["message"] for line in lines_before] == [line["message"] for line in complete[: len(lines_before)]]
        assert running(simulator) == 1
        next(stream)
    until(lambda: running(simulator) == 0)


@pytest.mark.parametrize("stream", [True, False])
def test_truncated(simulator: SimulatorProcess, *, stream: bool) -> None:
    """Half of a document, which is no JSON, with done true and done_reason length."""
    simulator.fault("truncated")
    answer = chat(simulator, stream=stream, format={"type": "object", "properties": {"a": {"type": "string"}}})
    last = lines(answer)[-1]
    assert (last["done"], last["done_reason"]) == (True, "length")
    assert content_of(answer).startswith("{")
    with pytest.raises(json.JSONDecodeError):
        json.loads(content_of(answer))


def test_endless(simulator: SimulatorProcess) -> None:
    """Ever new tokens come, far beyond num_predict, and the slot is free when the client has left."""
    simulator.fault("endless")
    with streaming(simulator, options={"num_predict": 5}) as stream:
        lines_before = [json.loads(next(stream))["message"]["content"] for _ in range(200)]
        assert running(simulator) == 1
    assert len(set(lines_before)) == 200
    until(lambda: running(simulator) == 0)


@pytest.mark.parametrize("stream", [True, False])
def test_repeat(simulator: SimulatorProcess, *, stream: bool) -> None:
    """One token comes again and again until num_predict."""
    simulator.fault("repeat")
    answer = chat(simulator, stream=stream, options={"num_predict": 60})
    assert content_of(answer) == " …" * 60
    assert (lines(answer)[-1]["done_reason"], lines(answer)[-1]["eval_count"]) == ("length", 60)


@pytest.mark.parametrize("stream", [True, False])
def test_thinking_only(simulator: SimulatorProcess, *, stream: bool) -> None:
    """The model only thinks, and stops as if that were an answer."""
    simulator.fault("thinking_only")
    answer = chat(simulator, stream=stream)
    assert content_of(answer) == ""
    assert any(line["message"].get("thinking") for line in lines(answer))
    assert lines(answer)[-1]["done_reason"] == "stop"


@pytest.mark.parametrize("stream", [True, False])
def test_kill_runner(simulator: SimulatorProcess, *, stream: bool) -> None:
    """The runner dies: an error line under 200 or a 500. /api/ps lists it as before, until the next request loads it anew."""
    chat(simulator)
    simulator.fault("kill_runner")
    answer = chat(simulator, stream=stream)
    assert answer.status_code == (200 if stream else 500)
    assert lines(answer)[-1] == {"error": "an error was encountered while running the model: unexpected EOF"}
    assert (len(lines(answer)) > 1) == stream
    assert [model["name"] for model in simulator.client.get("/api/ps").json()["models"]] == ["chain:latest"]
    assert chat(simulator).json()["load_duration"] > 20_000_000


def test_kill_runner_takes_the_others_along(simulator: SimulatorProcess) -> None:
    """Every request that waits at a dying runner gets an error too."""
    simulator.fault("hang")
    simulator.fault("kill_runner")
    with ExitStack() as stack:
        calls = []
        for number in range(3):
            calls.append(stack.enter_context(pending_chat(simulator, "chain")))
            until(lambda expected=number + 1: simulator.state()["models"]["chain:latest"]["max_in_flight"] == expected)  # type: ignore[misc]
        calls[0].close()
        assert ["unexpected EOF" in call.answer()["error"] for call in calls[1:]] == [True, True]


def test_wedge() -> None:
    """One fault makes every request to the model hang, while ps and other models answer. Once cleared, new requests are served
    and those that hang stay.
    """
    with start_simulator(model=["chain", "other"], num_parallel=3, load_seconds=0) as simulator, ExitStack() as stack:
        simulator.fault("wedge", model="chain")
        hanging = [stack.enter_context(pending_chat(simulator, "chain")) for _ in range(3)]
        until(lambda: running(simulator) == 3)
        assert simulator.client.get("/api/ps").json()["models"]
        assert chat(simulator, model="other").status_code == 200
        simulator.clear_faults()
        hanging[0].close()
        assert chat(simulator).status_code == 200
        assert running(simulator) == 2


def test_garbage(simulator: SimulatorProcess) -> None:
    """One line of a stream is no JSON, and the stream goes on after it. A whole body is no JSON at all."""
    simulator.fault("garbage", times=2)
    answer = chat(simulator, stream=True).text.splitlines()
    good = [line for line in answer if line.endswith("}")]
    assert len(good) == len(answer) - 1
    assert json.loads(good[-1])["done_reason"] == "stop"
    with pytest.raises(json.JSONDecodeError):
        chat(simulator).json()


def test_trickle(simulator: SimulatorProcess) -> None:
    """Tokens come as slowly as ordered, and the answer is complete."""
    complete = content_of(chat(simulator))
    simulator.fault("trickle", seconds=0.02)
    answer = chat(simulator, stream=True)
    assert content_of(answer) == complete
    assert lines(answer)[-1]["eval_duration"] >= (lines(answer)[-1]["eval_count"] - 1) * 20_000_000


@pytest.mark.parametrize("stream", [True, False])
def test_say(simulator: SimulatorProcess, *, stream: bool) -> None:
    """The answer is the text that was ordered, whatever schema and length were asked for."""
    simulator.fault("say", text=f"Grüße … {LONG_TEXT}")
    answer = chat(simulator, stream=stream, format={"type": "object"}, options={"num_predict": 3})
    assert content_of(answer) == f"Grüße … {LONG_TEXT}"
    assert lines(answer)[-1]["done_reason"] == "stop"
