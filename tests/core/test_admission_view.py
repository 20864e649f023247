"""The reason that the status shows: first one that needs attention, else one that queued jobs wait for."""

from dataclasses import replace

from supervisor.admission.apply import apply
from supervisor.admission.breaker import Breaker
from supervisor.admission.facts import LoadedModel, ModelsListed
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import decide
from supervisor.admission.state import AdmissionState
from supervisor.monitor.ollama.view import AdmissionView

NOW = 1000.0
V, F = "vision:latest", "feedback:latest"
POLICY = AdmissionPolicy(V, F)


def view_of(
    *loaded: str, slots: int = 64, vision_jobs: int = 0, feedback_jobs: int = 0, is_failing: bool = False
) -> AdmissionView:
    """Four workers. With `is_failing` the feedback model's breaker has just opened."""
    state = AdmissionState.of(POLICY, NOW, slots)
    breaker = Breaker(trips=1, tripped_at_seconds=NOW) if is_failing else Breaker()
    vision, feedback = state.models
    models = replace(vision, jobs=vision_jobs), replace(feedback, jobs=feedback_jobs, breaker=breaker)
    listed = tuple(LoadedModel(name, f"digest of {name}", 100, 0, 4096) for name in loaded)
    state = apply(replace(state, models=models, workers=4), ModelsListed(listed, NOW))
    return AdmissionView(POLICY, state, decide(state, POLICY, NOW))


def test_a_short_delay_does_not_hide_a_failing_model() -> None:
    """If a model fails while slots reopen one by one, the message names the failure only."""
    view = view_of(F, slots=1, is_failing=True, feedback_jobs=1)
    assert view.trouble(NOW) == (
        f"Held back: {F} failed several times in a row and is tried again in a moment (see Ollama's log). "
        "The submissions concerned wait, none is lost."
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
