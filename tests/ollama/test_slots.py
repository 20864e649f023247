"""The slots of a loaded model: who runs, who waits, and what becomes of a client that leaves."""

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


def test_the_third_waits(two_slots: SimulatorProcess) -> None:
    """With two slots a third request for the model waits, and one for another model does not."""
    with ExitStack() as stack:
        hold_slots(two_slots, stack, 2)
        stack.enter_context(pending_chat(two_slots, "chain"))
        until(lambda: running(two_slots) == (2, 1))
        with pending_chat(two_slots, "other") as other:
            assert other.answer()["done"]
        assert running(two_slots) == (2, 1)


def test_first_come_first_served(simulator: SimulatorProcess) -> None:
    """Those who wait are served in the order of their arrival, without a limit to the line."""
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


def test_wait_shows_in_the_total_alone(simulator: SimulatorProcess) -> None:
    """The wait for a slot is part of total_duration and of no other number (recording 25)."""
    simulator.fault("slow", seconds=0.5)
    with pending_chat(simulator, "chain") as first:
        until(lambda: running(simulator) == (1, 0))
        with pending_chat(simulator, "chain") as second:
            first.answer()
            answer = second.answer()
    parts_ns = answer["load_duration"] + answer["prompt_eval_duration"] + answer["eval_duration"]
    assert answer["total_duration"] - parts_ns > 250_000_000
    assert parts_ns < 250_000_000


def test_leaving_while_generating_frees_the_slot(simulator: SimulatorProcess) -> None:
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
def test_leaving_while_computing_frees_the_slot(simulator: SimulatorProcess, *, stream: bool) -> None:
    """A client that leaves before the first byte frees its slot, streaming or not, and is on record as disconnected."""
    simulator.fault("hang")
    with pending_chat(simulator, "chain", stream=stream) as silent:
        until(lambda: running(simulator) == (1, 0))
        silent.close()
        until(lambda: running(simulator) == (0, 0))
    (call,) = simulator.calls()
    assert (call["outcome"], call["first_byte_seconds"]) == ("disconnected", None)


def test_leaving_the_line(simulator: SimulatorProcess) -> None:
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


def test_maximum_in_flight(two_slots: SimulatorProcess) -> None:
    """The state tells how many answers a model was asked for at once since the calls were reset; a load asks for none."""
    with ExitStack() as stack:
        hold_slots(two_slots, stack, 2)
        stack.enter_context(pending_chat(two_slots, "chain", messages=[])).answer()
        assert two_slots.state()["models"][MODEL]["max_in_flight"] == 2
        stack.enter_context(pending_chat(two_slots, "chain"))
        until(lambda: running(two_slots) == (2, 1))
    until(lambda: running(two_slots) == (0, 0))
    assert two_slots.state()["models"][MODEL]["max_in_flight"] == 3
    two_slots.reset_calls()
    assert two_slots.state()["models"][MODEL]["max_in_flight"] == 0
