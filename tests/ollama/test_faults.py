"""Faults on command."""

import httpx
import pytest

from testkit.ollama_simulator.fault import Faults
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.picture import base64_text, jpeg


def chat(simulator: SimulatorProcess, model: str = "chain", *, stream: bool = False) -> httpx.Response:
    request = {"model": model, "messages": [{"role": "user", "content": "Hallo"}], "stream": stream}
    return simulator.client.post("/api/chat", json=request)


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


def test_one_model_only(simulator: SimulatorProcess) -> None:
    """A fault for one model leaves the others alone, and the name needs no tag."""
    simulator.fault("status_503", model="chain")
    assert chat(simulator, "chain-vision").status_code == 200
    assert chat(simulator).status_code == 503


def test_clear(simulator: SimulatorProcess) -> None:
    """Faults can be removed."""
    simulator.fault("status_503", times=100)
    simulator.clear_faults()
    assert chat(simulator).status_code == 200


@pytest.mark.parametrize("command", [{"fault": "meteor"}, {"fault": "hang", "times": 0}, {"fault": "slow", "seconds": -1}])
def test_a_wrong_command_gets_status_400(simulator: SimulatorProcess, command: dict[str, object]) -> None:
    """A command that makes no sense gets status 400 with the possible values."""
    answer = simulator.client.post("/_simulator/faults", json=command)
    assert answer.status_code == 400
    assert "must be" in answer.json()["error"]


def test_a_fault_for_requests_with_a_text_waits_for_one(simulator: SimulatorProcess) -> None:
    """A fault for requests that contain a text, in the prompt or in a picture's comment, waits for such a request."""
    simulator.fault("say", text="getroffen", times=2, containing="Winkel")
    asked: list[dict[str, object]] = [
        {"content": "Hallo"},
        {"content": "Der Winkel"},
        {"content": "Lies", "images": [base64_text(jpeg("Etwas anderes"))]},
        {"content": "Lies", "images": [base64_text(jpeg("Drei Winkel"))]},
    ]
    messages = [[{"role": "user", **message}] for message in asked]
    answers = [
        simulator.client.post("/api/chat", json={"model": "chain-vision", "messages": each, "stream": False}) for each in messages
    ]
    assert [answer.json()["message"]["content"] == "getroffen" for answer in answers] == [False, True, False, True]


def test_header(simulator: SimulatorProcess) -> None:
    """A request's own header decides its fault, with parameters, and leaves the set faults for other requests."""
    simulator.fault("status_503")
    request = {"model": "chain", "messages": [{"role": "user", "content": "Hallo"}], "stream": False}
    headers = {"X-Simulator-Fault": "say; seconds=0.1; text=Gr%C3%BC%C3%9Fe"}
    assert simulator.client.post("/api/chat", json=request, headers=headers).json()["message"]["content"] == "Grüße"
    for header in ("meteor", "slow; seconds=soon"):
        assert simulator.client.post("/api/chat", json=request, headers={"X-Simulator-Fault": header}).status_code == 400
    assert chat(simulator).status_code == 503


def test_drawn_from_a_seed() -> None:
    """The same seed lets the same requests go wrong in the same way, another one others, and about as many as asked for."""

    def drawn(seed: int) -> list[str | None]:
        faults = Faults(0.25, seed)
        return [fault.kind if (fault := faults.take("chain:latest", "")) else None for _ in range(400)]

    first = drawn(7)
    assert first == drawn(7) != drawn(8)
    assert 60 < sum(kind is not None for kind in first) < 140
    assert {"wedge", "say"}.isdisjoint(kind for kind in first if kind)
