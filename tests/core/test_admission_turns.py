"""Two workers that never rest, and two models on the same cores: what admission learns of their speeds, and does about it."""

from dataclasses import dataclass

import pytest

from supervisor.admission.apply import record
from supervisor.admission.facts import Backlog, CallEnded, Calls, Listed, Phase, Resident, Waiting, Working
from supervisor.admission.policy import Policy
from supervisor.admission.rules import decide
from supervisor.admission.state import State
from worker.ipc.contract import CallOutcome, ModelCall

V, F = "eyes:latest", "words:latest"
POLICY = Policy(vision_model=V, feedback_model=F)
SPEED, TOKENS = 50.0, 500.0
SECONDS = 3000  # half a dozen of the slowest calls


@dataclass(slots=True)
class Worker:
    """Has a picture read, then the feedback written, then the next job; `left` tokens are still to come of a call."""

    stage: str = V
    left: float = 0.0
    began_at: int = 0


def works(workers: list[Worker], now: int) -> Working:
    counts = {model: sum(each.left > 0 and each.stage == model for each in workers) for model in (V, F)}
    return Working(tuple(Calls(model, count, now) for model, count in counts.items() if count), 2, 2, now)


def begin(workers: list[Worker], state: State, now: int) -> State:
    """As far as the gates let them; the phase is granted as it is wanted."""
    residents = tuple(Resident(model, model, 100, 0, 4096) for model in (V, F))
    facts = Listed(residents, now), Waiting((Backlog(V, 5, 99.0), Backlog(F, 5, 99.0)), now), works(workers, now)
    for fact in facts:
        state = record(state, fact)
    decision = decide(state, POLICY, now)
    for worker in workers:
        is_taken = any(each.left > 0 and each.stage == worker.stage for each in workers)
        if worker.left <= 0 and decision.calls_of(worker.stage) and not is_taken:
            worker.left, worker.began_at = TOKENS, now
    return record(record(state, decision.told(now)), Phase(decision.turn, now))


def end(worker: Worker, workers: list[Worker], state: State, now: int) -> State:
    took = now - worker.began_at
    call = ModelCall(CallOutcome.ANSWERED, tokens_per_second=TOKENS / took, answer_seconds=took)
    ended = CallEnded(worker.stage, call, now)
    worker.stage = F if worker.stage == V else V
    return record(record(state, ended), works(workers, now))


@pytest.mark.parametrize(("share", "by_turns"), [(0.02, True), (0.3, True), (0.6, False), (1.0, False)])
def test_turns_are_taken_where_two_models_starve_each_other(share: float, by_turns: bool) -> None:
    """`share` is what a model keeps of its speed beside the other. Neither is ever alone by itself, so a trial must tell."""
    workers, state = [Worker(), Worker()], State.of(POLICY, 0.0)
    for now in range(1, SECONDS):
        state = begin(workers, state, now)
        busy = [worker for worker in workers if worker.left > 0]
        for worker in busy:
            worker.left -= SPEED * (share if len(busy) > 1 else 1.0)
        for worker in busy:
            if worker.left <= 0:
                state = end(worker, workers, state, now + 1)
    assert all(model.speed.alone.is_known for model in state.models)
    assert (decide(state, POLICY, SECONDS).turn is not None) == by_turns
