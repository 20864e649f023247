"""Measured interference end to end: two busy workers, two models on the same cores, and the turns that follow."""

from dataclasses import dataclass

import pytest

from supervisor.admission.apply import apply
from supervisor.admission.facts import (
    Backlog,
    BacklogSampled,
    CallEnded,
    CallsInFlight,
    LoadedModel,
    ModelLockChanged,
    ModelsListed,
    WorkersSampled,
)
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import decide
from supervisor.admission.state import AdmissionState
from worker.ipc.contract import CallOutcome, ModelCall

V, F = "eyes:latest", "words:latest"
POLICY = AdmissionPolicy(vision_model=V, feedback_model=F)
SPEED, TOKENS = 50.0, 500.0
SECONDS = 3000  # six of the slowest calls


@dataclass(slots=True)
class Worker:
    """Alternates between vision and feedback. `left`: tokens that are still missing from its call."""

    step: str = V
    left: float = 0.0
    began_at: int = 0


def sample(workers: list[Worker], now: int) -> WorkersSampled:
    counts = {model: sum(each.left > 0 and each.step == model for each in workers) for model in (V, F)}
    return WorkersSampled(tuple(CallsInFlight(model, count, now) for model, count in counts.items() if count), 2, 2, now)


def begin(workers: list[Worker], state: AdmissionState, now: int) -> AdmissionState:
    """Begin calls where gates are open. Every model lock is granted at once."""
    loaded = tuple(LoadedModel(model, model, 100, 0, 4096) for model in (V, F))
    facts = ModelsListed(loaded, now), BacklogSampled((Backlog(V, 5, 99.0), Backlog(F, 5, 99.0)), now), sample(workers, now)
    for fact in facts:
        state = apply(state, fact)
    decision = decide(state, POLICY, now)
    for worker in workers:
        is_taken = any(each.left > 0 and each.step == worker.step for each in workers)
        if worker.left <= 0 and decision.calls_of(worker.step) and not is_taken:
            worker.left, worker.began_at = TOKENS, now
    return apply(apply(state, decision.published(now)), ModelLockChanged(decision.active, now))


def end(worker: Worker, workers: list[Worker], state: AdmissionState, now: int) -> AdmissionState:
    took = now - worker.began_at
    call = ModelCall(CallOutcome.ANSWERED, tokens_per_second=TOKENS / took, answer_seconds=took)
    ended = CallEnded(worker.step, call, now)
    worker.step = F if worker.step == V else V
    return apply(apply(state, ended), sample(workers, now))


@pytest.mark.parametrize(("share", "by_turns"), [(0.02, True), (0.3, True), (0.6, False), (1.0, False)])
def test_turns_are_taken_if_two_models_slow_each_other_down(share: float, by_turns: bool) -> None:
    """`share`: part of its speed that a model keeps beside the other. Neither is ever alone, so a trial must measure it."""
    workers, state = [Worker(), Worker()], AdmissionState.of(POLICY, 0.0)
    for now in range(1, SECONDS):
        state = begin(workers, state, now)
        busy = [worker for worker in workers if worker.left > 0]
        for worker in busy:
            worker.left -= SPEED * (share if len(busy) > 1 else 1.0)
        for worker in busy:
            if worker.left <= 0:
                state = end(worker, workers, state, now + 1)
    assert all(speed.alone.is_known for speed in state.interference.speeds)
    assert (decide(state, POLICY, SECONDS).active is not None) == by_turns
