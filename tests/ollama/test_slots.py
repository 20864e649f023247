"""The slots of a loaded model: which request runs, which waits, and what a lost client frees."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.waiting import until
from tests.ollama.client import PendingCall, pending_chat

MODEL = "chain:latest"


@pytest.fixture
def two_slots() -> Iterator[SimulatorProcess]:
    with start_simulator(model=["chain", "other"], num_parallel=2, tokens_per_second=5000, load_seconds=0.01) as simulator:
        yield simulator


def running(simulator: SimulatorProcess) -> tuple[int, int]:
    traffic = simulator.state()["models"][MODEL]
    return traffic["running"], traffic["waiting"]


def hold_slots(simulator: SimulatorProcess, stack: ExitStack, count: int) -> list[PendingCall]:
    simulator.fault("hang", times=count)
    calls = [stack.enter_context(pending_chat(simulator, "chain")) for _ in range(count)]
    until(lambda: running(simulator) == (count, 0))
    return calls


def test_first_come_first_served(simulator: SimulatorProcess) -> None:
    """Waiting requests are served in the order of their arrival, without a limit to the queue."""
    with ExitStack() as stack:
        (holder,) = hold_slots(simulator, stack, 1)
        waiting = []
        for number in range(20):
            waiting.append(stack.enter_context(pending_chat(simulator, "chain")))
            until(lambda expected=number + 1: running(simulator) == (1, expected))  # type: ignore[misc]
        holder.close()
        assert all(call.answer()["done_reason"] == "stop" for call in waiting)
    served = simulator.calls()[1:]
    ends = [call["at"] + call["seconds"] for call in served]
    assert ends == sorted(ends)
    assert [call["in_flight_at_start"] for call in served] == list(range(2, 22))


def test_a_disconnect_during_the_answer_frees_the_slot(simulator: SimulatorProcess) -> None:
    """A client that closes a stream in the middle gives its slot to the next at once."""
    simulator.fault("slow", seconds=0)
    with ExitStack() as stack:
        speaker = stack.enter_context(pending_chat(simulator, "chain", stream=True))
        speaker.first_line()
        speaker.close()
        until(lambda: running(simulator) == (0, 0))
        with pending_chat(simulator, "chain") as following:
            assert following.answer()["done"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_disconnect_during_the_prompt_frees_the_slot(simulator: SimulatorProcess, *, stream: bool) -> None:
    """A client that leaves before the first byte frees its slot, streaming or not, and is on record as disconnected."""
    simulator.fault("hang")
    with pending_chat(simulator, "chain", stream=stream) as silent:
        until(lambda: running(simulator) == (1, 0))
        silent.close()
        until(lambda: running(simulator) == (0, 0))
    (call,) = simulator.calls()
    assert (call["outcome"], call["first_byte_seconds"]) == ("disconnected", None)


def test_a_client_that_disconnects_leaves_the_queue(simulator: SimulatorProcess) -> None:
    """A client that leaves while it waits is out of the line, and the next behind it is served."""
    with ExitStack() as stack:
        (holder,) = hold_slots(simulator, stack, 1)
        impatient = stack.enter_context(pending_chat(simulator, "chain"))
        until(lambda: running(simulator) == (1, 1))
        patient = stack.enter_context(pending_chat(simulator, "chain"))
        until(lambda: running(simulator) == (1, 2))
        impatient.close()
        until(lambda: running(simulator) == (1, 1))
        holder.close()
        assert patient.answer()["done"]
    assert sorted(call["outcome"] for call in simulator.calls()) == ["disconnected", "disconnected", "done"]
