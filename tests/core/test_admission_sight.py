"""What the status says of admission: of all reasons the one that somebody should know of, and only what work waits for."""

from dataclasses import replace

from supervisor.admission.apply import apply
from supervisor.admission.breaker import Breaker
from supervisor.admission.facts import LoadedModel, ModelsListed
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import decide
from supervisor.admission.state import AdmissionState
from supervisor.monitor.ollama.view import AdmissionView

NOW = 1000.0
V, F = "see:latest", "say:latest"
POLICY = AdmissionPolicy(V, F)


def sight_of(
    *loaded: str, slots: int = 64, vision_jobs: int = 0, feedback_jobs: int = 0, is_failing: bool = False
) -> AdmissionView:
    """Four workers; the feedback model's breaker has just opened if it `is_failing`."""
    state = AdmissionState.of(POLICY, NOW, slots)
    breaker = Breaker(trips=1, tripped_at_seconds=NOW) if is_failing else Breaker()
    vision, feedback = state.models
    models = replace(vision, jobs=vision_jobs), replace(feedback, jobs=feedback_jobs, breaker=breaker)
    listed = tuple(LoadedModel(name, f"digest of {name}", 100, 0, 4096) for name in loaded)
    state = apply(replace(state, models=models, workers=4), ModelsListed(listed, NOW))
    return AdmissionView(POLICY, state, decide(state, POLICY, NOW))


def test_what_passes_by_itself_hides_no_trouble() -> None:
    """A model that fails while slots reopen one by one is told, and it alone."""
    sight = sight_of(F, slots=1, is_failing=True, feedback_jobs=1)
    assert sight.trouble(NOW) == f"Held back: {F} failed several times in a row and is asked again in a moment."


def test_a_model_that_no_work_waits_for_is_not_told() -> None:
    """Texts do not wait for the eyes to be loaded; a photo does."""
    assert not sight_of(F, feedback_jobs=3).is_holding
    assert (sight := sight_of(F, vision_jobs=1, feedback_jobs=3)).is_holding
    assert (sight.worded(), sight.trouble(NOW)) == (f"{V} is not loaded yet", "")


def test_slots_are_for_all_work() -> None:
    """Whatever waits feels that slots reopen one by one; where nothing waits nobody does."""
    assert sight_of(V, F, slots=1, feedback_jobs=1).is_holding
    assert not sight_of(V, F, slots=1).is_holding
