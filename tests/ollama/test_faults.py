"""Faults on order."""

import json

import httpx
import pytest

from testkit.ollama_simulator.fault import Faults
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from tests.ollama.picture import base64_text, jpeg


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


@pytest.mark.parametrize("order", [{"fault": "say", "text": 1}, {"fault": "eof", "containing": ["x"]}])
def test_text_refused(simulator: SimulatorProcess, order: dict[str, object]) -> None:
    """Texts are strings."""
    assert simulator.client.post("/_simulator/faults", json=order).status_code == 400


def test_order_of_use(simulator: SimulatorProcess) -> None:
    """Orders are used up in the order given."""
    for text in ("eins", "zwei"):
        simulator.fault("say", text=text)
    assert [chat(simulator).json()["message"]["content"] for _ in range(2)] == ["eins", "zwei"]


def test_containing(simulator: SimulatorProcess) -> None:
    """An order for requests that contain a text, in the prompt or in what a picture says, waits for such a one."""
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


def test_containing_with_a_damaged_picture(simulator: SimulatorProcess) -> None:
    """A picture that cannot be read contains nothing, and its request fails by itself as ever."""
    simulator.fault("say", text="getroffen", containing="Winkel")
    message = {"role": "user", "content": "Lies", "images": [base64_text(jpeg("Winkel")[:20])]}
    answer = simulator.client.post("/api/chat", json={"model": "chain-vision", "messages": [message], "stream": False})
    assert "Failed to load image" in answer.json()["error"]


def test_header(simulator: SimulatorProcess) -> None:
    """A request's own header decides its fault, with parameters, and leaves the orders for others."""
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


def test_fault_rate() -> None:
    """The command line's fault rate reaches the requests: with 1 every one goes wrong, with none ordered."""
    with start_simulator(model=["chain"], load_seconds=0, fault_rate=1, seed=5) as simulator:
        kind = Faults(1, 5).take("chain:latest", "")
        assert kind is not None
        assert kind.kind == "status_400"
        assert chat(simulator).status_code == 400
