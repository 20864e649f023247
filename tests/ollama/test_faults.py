"""Faults on order."""

import json

import httpx
import pytest

from demo.ollama_simulator.process import SimulatorProcess


def chat(simulator: SimulatorProcess, model: str = "chain", *, stream: bool = False) -> httpx.Response:
    request = {"model": model, "messages": [{"role": "user", "content": "Hallo"}], "stream": stream}
    return simulator.client.post("/api/chat", json=request)


@pytest.mark.parametrize(
    ("fault", "status", "text", "streamed_type"),
    [
        (
            "status_503",
            503,
            "server busy, please try again.  maximum pending requests exceeded",
            "application/json; charset=utf-8",
        ),
        (
            "status_500",
            500,
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
            "check ollama server logs for details",
            "application/json",
        ),
    ],
)
def test_status(simulator: SimulatorProcess, fault: str, status: int, text: str, streamed_type: str) -> None:
    """The server refuses with Ollama's own words, and with the headers of the place where that happens."""
    simulator.fault(fault, times=2)
    for stream, content_type in ((False, "application/json; charset=utf-8"), (True, streamed_type)):
        answer = chat(simulator, stream=stream)
        assert (answer.status_code, answer.json()) == (status, {"error": text})
        assert answer.headers["Content-Type"] == content_type
    assert chat(simulator).status_code == 200
    assert [call["outcome"] for call in simulator.calls()] == [f"error:{status}", f"error:{status}", "done"]


def test_hang(simulator: SimulatorProcess) -> None:
    """A hanging request sends no byte, not even a header, until its client gives up."""
    simulator.fault("hang")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{simulator.url}/api/generate", json={"model": "chain", "prompt": "x"}, timeout=0.2, trust_env=False)
    assert chat(simulator).status_code == 200
    assert [call["outcome"] for call in simulator.calls()] == ["disconnected", "done"]


def test_slow(simulator: SimulatorProcess) -> None:
    """A slow request pauses before its first token for the time ordered."""
    simulator.fault("slow", seconds=0.2)
    assert chat(simulator, stream=True).status_code == 200
    (call,) = simulator.calls()
    assert call["first_byte_seconds"] >= 0.2


def test_stream_ends_early(simulator: SimulatorProcess) -> None:
    """A stream that breaks off has some lines, none of them done, under status 200."""
    simulator.fault("eof")
    answer = chat(simulator, stream=True)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.status_code == 200
    assert lines
    assert not any(line["done"] for line in lines)


def test_answer_ends_early(simulator: SimulatorProcess) -> None:
    """A whole answer that breaks off says done false and has no numbers (recording 18)."""
    simulator.fault("eof")
    assert set(chat(simulator).json()) == {"model", "created_at", "message", "done"}


def test_one_model_only(simulator: SimulatorProcess) -> None:
    """A fault for one model leaves the others alone, and the name needs no tag."""
    simulator.fault("status_503", model="chain")
    assert chat(simulator, "chain-vision").status_code == 200
    assert chat(simulator).status_code == 503


def test_loading_does_not_use_up_a_fault(simulator: SimulatorProcess) -> None:
    """A request without a prompt takes no fault."""
    simulator.fault("status_503")
    assert simulator.client.post("/api/generate", json={"model": "chain"}).status_code == 200
    assert chat(simulator).status_code == 503


def test_clear(simulator: SimulatorProcess) -> None:
    """Orders can be withdrawn."""
    simulator.fault("status_503", times=100)
    simulator.clear_faults()
    assert chat(simulator).status_code == 200


@pytest.mark.parametrize("order", [{"fault": "meteor"}, {"fault": "hang", "times": 0}, {"fault": "slow", "seconds": -1}])
def test_order_refused(simulator: SimulatorProcess, order: dict[str, object]) -> None:
    """An order that makes no sense is a 400 that names what is possible."""
    answer = simulator.client.post("/_simulator/faults", json=order)
    assert answer.status_code == 400
    assert "must be" in answer.json()["error"]
