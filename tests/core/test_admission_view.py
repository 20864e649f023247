"""The reason that the status shows: first one that needs attention, else one that queued jobs wait for."""

from dataclasses import replace
from uuid import UUID

import pytest

from supervisor.admission.apply import apply
from supervisor.admission.breaker import TRIP_FAILURES, Breaker
from supervisor.admission.decision import HoldReason
from supervisor.admission.facts import (
    CallEnded,
    Fact,
    FileFailed,
    ListError,
    ListFailed,
    LoadedModel,
    ModelsListed,
    ProbeBegun,
    ProbeEnded,
)
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import decide
from supervisor.admission.state import AdmissionState
from supervisor.admission.store import MISSES, STORE_ERRORS, Store
from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.store.words import in_words
from worker.ipc.contract import CallOutcome, ModelCall

NOW = 1000.0
V, F = "vision:latest", "feedback:latest"
POLICY = AdmissionPolicy(V, F)


def view_of(
    *loaded: str, slots: int = 64, vision_jobs: int = 0, feedback_jobs: int = 0, is_failing: bool = False
) -> AdmissionView:
    """Four workers. With `is_failing` the feedback model's breaker has just opened."""
    state = AdmissionState.of(POLICY, NOW, slots)
    breaker = Breaker(trips=1, tripped_at_seconds=NOW, since_seconds=NOW) if is_failing else Breaker()
    vision, feedback = state.models
    models = replace(vision, jobs=vision_jobs), replace(feedback, jobs=feedback_jobs, breaker=breaker)
    listed = tuple(LoadedModel(name, f"digest of {name}", 100, 0, 4096) for name in loaded)
    state = apply(replace(state, models=models, workers=4), ModelsListed(listed, NOW))
    return AdmissionView(POLICY, state, decide(state, POLICY, NOW))


def test_a_short_delay_does_not_hide_a_failing_model() -> None:
    """If a model fails while slots reopen one by one, the message names the failure only."""
    view = view_of(F, slots=1, is_failing=True, feedback_jobs=1)
    assert view.trouble(NOW + 3) == (
        f"Held back: {F} failed several times in a row, and a tiny request of the monitor tests whether it answers again, "
        "for 3 s now (see Ollama's log). The submissions concerned wait, none is lost."
    )


def test_a_model_that_no_job_waits_for_is_not_shown() -> None:
    """A text does not wait for the vision model to be loaded. A photo does."""
    assert not view_of(F, feedback_jobs=3).is_holding
    assert (view := view_of(F, vision_jobs=1, feedback_jobs=3)).is_holding
    assert (view.explanation(), view.trouble(NOW)) == (f"{V} is not loaded yet", "")


def test_reopening_slots_hold_back_any_queued_job() -> None:
    """Slots that reopen one by one delay any queued job. Without a queued job this is not shown."""
    assert view_of(V, F, slots=1, feedback_jobs=1).is_holding
    assert not view_of(V, F, slots=1).is_holding


def message(*facts: Fact, seconds: float) -> str:
    """The status message so many seconds after both models were loaded and these facts arrived."""
    state = view_of(V, F).state
    for fact in facts:
        state = apply(state, fact)
    view = AdmissionView(POLICY, state, decide(state, POLICY, NOW))
    assert view.needs_attention
    return view.trouble(NOW + seconds)


def test_a_server_that_is_away_is_named_with_its_remedy() -> None:
    """The message has the server, what is wrong, since when, and what to do."""
    assert message(ListFailed(ListError.UNREACHABLE, NOW), seconds=125) == (
        "Held back: Ollama cannot be reached, for 2 min now (ServerUnreachable: start it, or correct OLLAMA_BASE_URL). "
        "The submissions concerned wait, none is lost."
    )
    assert "NameUnresolved: repair the name servers" in message(ListFailed(ListError.UNRESOLVED, NOW), seconds=1)


@pytest.mark.parametrize("error_class", sorted(STORE_ERRORS))
def test_a_store_that_is_away_is_named_with_its_remedy(error_class: str) -> None:
    """Each class has words of its own."""
    failed = (FileFailed(error_class, UUID(int=number), NOW) for number in range(MISSES))
    what, remedy = in_words(error_class)
    assert (what, remedy) != in_words("AnotherClass")
    assert message(*failed, seconds=70) == (
        f"Held back: pictures wait, because {what}, for 1 min now ({error_class}: {remedy}). "
        "The submissions concerned wait, none is lost."
    )


def test_a_failing_model_is_named_with_the_class_of_its_last_probe() -> None:
    trip = (CallEnded(F, ModelCall(CallOutcome.FAILED), NOW),) * TRIP_FAILURES
    probe = ProbeBegun(F, NOW + 2), ProbeEnded(F, "ModelMissing", NOW + 3)
    assert "for 9 s now (ModelMissing: see Ollama's log)" in message(*trip, *probe, seconds=9)


def test_a_store_that_is_back_is_a_short_delay() -> None:
    """It ends with the next picture, so it needs no attention."""
    state = replace(AdmissionState.of(POLICY, NOW), store=Store("StoreFailed", NOW, is_back=True))
    view = AdmissionView(POLICY, state, decide(state, POLICY, NOW))
    assert HoldReason.RETURNING in view.decision.reasons
    assert not view.needs_attention
