"""Outages of any length by a fake clock: a gate stays closed throughout, and opens within five seconds after the return.

The monitor is played by the facts that it would apply: a list and a decision each second, and the ends of its acts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from supervisor.admission.apply import apply
from supervisor.admission.decision import Decision, Preload, Probe, ProbeStore, Unload
from supervisor.admission.facts import (
    Backlog,
    BacklogSampled,
    CallEnded,
    Fact,
    FileFailed,
    FileRead,
    ListError,
    ListFailed,
    LoadBegun,
    LoadedModel,
    LoadEnded,
    ModelsListed,
    ProbeBegun,
    ProbeEnded,
    StoreProbeBegun,
    StoreProbeEnded,
    UnloadBegun,
    UnloadEnded,
)
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import decide
from supervisor.admission.state import AdmissionState
from worker.ipc.contract import CallOutcome, ModelCall

V, F = "see:latest", "say:latest"
POLICY = AdmissionPolicy(V, F, num_parallel=4, vision_timeout_seconds=30, feedback_timeout_seconds=15)
LENGTHS_SECONDS = (3, 120, 1200)
RETURN_SECONDS = 5
TICK_SECONDS = 1.0
A, B = UUID(int=1), UUID(int=2)


@dataclass
class Monitor:
    """`away`, `failing` and `store_error` are the class of the fault while it lasts. A silent probe ends after its try."""

    now: float = 0.0
    away: ListError | None = None
    failing: str = ""
    store_error: str = ""
    answer_seconds: float = 0.5
    state: AdmissionState = field(default_factory=lambda: AdmissionState.of(POLICY, 0.0))
    decision: Decision = field(default_factory=Decision)
    loaded: set[str] = field(default_factory=lambda: {V, F})
    pending: list[tuple[float, Callable[[], Fact]]] = field(default_factory=list)

    def apply(self, *facts: Fact) -> None:
        for fact in facts:
            self.state = apply(self.state, fact)

    def tick(self) -> None:
        self.now += TICK_SECONDS
        due = [ended for at, ended in self.pending if at <= self.now]
        self.pending = [each for each in self.pending if each[0] > self.now]
        self.apply(*(ended() for ended in due))
        if self.away:
            self.apply(ListFailed(self.away, self.now))
        else:
            self.apply(ModelsListed(tuple(LoadedModel(name, name, 1, 0, 4096) for name in sorted(self.loaded)), self.now))
        self.apply(BacklogSampled((Backlog(V, 3, 9.0), Backlog(F, 3, 9.0)), self.now))
        self.decision = decide(self.state, POLICY, self.now)
        self.apply(self.decision.published(self.now))
        for act in self.decision.acts:
            self.perform(act)

    def perform(self, act: object) -> None:
        match act:
            case Probe(model, try_seconds, _):
                self.apply(ProbeBegun(model, self.now))
                error, took = self.failing, try_seconds if self.failing == "AnswerTimeout" else self.answer_seconds
                self.end_after(took, lambda at: ProbeEnded(model, error, at))
            case ProbeStore():
                self.apply(StoreProbeBegun(self.now))
                self.end_after(self.answer_seconds, lambda at, error=self.store_error: StoreProbeEnded(error, at))  # type: ignore[misc]
            case Preload(model):
                self.apply(LoadBegun(model, self.now))
                is_ok = not self.failing and not self.away
                self.end_after(self.answer_seconds, lambda at: self.load_ended(model, at, is_ok=is_ok))
            case Unload(models):
                self.apply(UnloadBegun(models, self.now), UnloadEnded(models, is_ok=True, at_seconds=self.now))
                self.loaded -= set(models)

    def end_after(self, seconds: float, fact: Callable[[float], Fact]) -> None:
        at = self.now + seconds
        self.pending.append((at, lambda: fact(at)))

    def load_ended(self, model: str, at: float, *, is_ok: bool) -> Fact:
        self.loaded |= {model} if is_ok else set()
        return LoadEnded(model, is_ok, at)

    def fail_calls(self, outcome: CallOutcome, count: int) -> None:
        self.apply(*(CallEnded(F, ModelCall(outcome), self.now) for _ in range(count)))

    def calls(self) -> tuple[int, int]:
        return self.decision.vision_calls(V), self.decision.calls_of(F)

    def seconds_until(self, condition: Callable[[], bool]) -> float:
        began = self.now
        while not condition():
            self.tick()
            assert self.now < began + 60
        return self.now - began


@pytest.mark.parametrize("length_seconds", LENGTHS_SECONDS)
@pytest.mark.parametrize("why", [ListError.UNREACHABLE, ListError.UNRESOLVED])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_server_that_is_away(length_seconds: int, why: ListError, is_restarted: bool) -> None:
    """Both gates are closed with the first list that fails. A server that was restarted has to load its models first."""
    monitor = Monitor()
    monitor.tick()
    monitor.away = why
    for _ in range(length_seconds):
        monitor.tick()
        assert monitor.calls() == (0, 0)
    monitor.away = None
    if is_restarted:
        monitor.loaded.clear()
    assert monitor.seconds_until(lambda: monitor.calls() == (1, 1)) <= RETURN_SECONDS


FAILURES = {
    "errors": (CallOutcome.FAILED, 5, "ServerError"),
    "busy": (CallOutcome.BUSY, 5, "Unavailable"),
    "silence": (CallOutcome.SILENT, 2, "AnswerTimeout"),
}


@pytest.mark.parametrize("length_seconds", LENGTHS_SECONDS)
@pytest.mark.parametrize(("outcome", "count", "error_class"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failing_model(length_seconds: int, outcome: CallOutcome, count: int, error_class: str) -> None:
    """No call is admitted during the outage, so no job pays for a probe. The other model's gate stays open.

    A silent model may return during its unload, whose memory is awaited, or while a try waits for it.
    """
    monitor = Monitor()
    monitor.tick()
    monitor.fail_calls(outcome, count)
    monitor.failing = error_class
    for _ in range(length_seconds):
        monitor.tick()
        assert monitor.calls() == (64, 0)
    monitor.failing = ""
    unload_seconds = POLICY.try_seconds(F) + POLICY.memory_back_seconds if outcome is CallOutcome.SILENT else 0
    assert monitor.seconds_until(lambda: monitor.calls()[1] == 1) <= RETURN_SECONDS + unload_seconds


@pytest.mark.parametrize("length_seconds", LENGTHS_SECONDS)
def test_a_store_that_is_away(length_seconds: int) -> None:
    """Pictures alone are held back. After the return one is admitted, and all after it was read."""
    monitor = Monitor()
    monitor.tick()
    monitor.store_error = "StoreUnreachable"
    monitor.apply(FileFailed("StoreUnreachable", A, monitor.now))
    for _ in range(length_seconds):
        monitor.tick()
        assert monitor.calls() == (0, 64)
    monitor.store_error = ""
    assert monitor.seconds_until(lambda: monitor.calls() == (1, 64)) <= RETURN_SECONDS
    monitor.apply(FileRead(B, monitor.now))
    monitor.tick()
    assert monitor.calls() == (64, 64)


@pytest.mark.parametrize("length_seconds", LENGTHS_SECONDS)
def test_a_model_that_is_not_installed(length_seconds: int) -> None:
    """Each load fails at once. The installed model is found, loaded and admitted in time."""
    monitor = Monitor(loaded={V}, failing="ModelMissing", answer_seconds=0.1)
    for _ in range(length_seconds):
        monitor.tick()
        assert monitor.calls()[1] in {0, 1}  # 1: the canary of a long stall
    monitor.failing = ""
    assert monitor.seconds_until(lambda: monitor.calls()[1] > 1) <= RETURN_SECONDS + 2 * TICK_SECONDS
