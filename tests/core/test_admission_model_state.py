"""The table of a model's life: each cell is reached by facts, as the monitor sends them, except those that cannot occur."""

import pytest

from supervisor.admission.apply import apply
from supervisor.admission.facts import (
    DecisionPublished,
    Fact,
    ListError,
    ListFailed,
    LoadBegun,
    LoadedModel,
    LoadEnded,
    ModelsListed,
    UnloadBegun,
    UnloadEnded,
)
from supervisor.admission.model_state import LISTED_STATES, LOADING_STATES, ModelEvent, ModelState, next_state
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState

V, F = "see:latest", "say:latest"
FACTS: dict[ModelEvent, Fact] = {
    ModelEvent.LISTED: ModelsListed((LoadedModel(V, "1", 100, 0, 4096),), 1.0),
    ModelEvent.MISSING: ModelsListed((), 1.0),
    ModelEvent.LIST_FAILED: ListFailed(ListError.LATE, 1.0),
    ModelEvent.LOAD_BEGUN: LoadBegun(V, 1.0),
    ModelEvent.LOADED: LoadEnded(V, is_ok=True, at_seconds=1.0),
    ModelEvent.LOAD_FAILED: LoadEnded(V, is_ok=False, at_seconds=1.0),
    ModelEvent.UNLOAD_BEGUN: UnloadBegun((V,), 1.0),
    ModelEvent.UNLOAD_FAILED: UnloadEnded((V,), is_ok=False, at_seconds=1.0),
    ModelEvent.SERVER_AWAY: ListFailed(ListError.UNREACHABLE, 1.0),
    ModelEvent.TURN_CHANGED: DecisionPublished(1, F, 1.0),
}
PATHS: dict[ModelState, tuple[ModelEvent, ...]] = {
    ModelState.ABSENT: (),
    ModelState.LOADING: (ModelEvent.LOAD_BEGUN,),
    ModelState.LOADING_LISTED: (ModelEvent.LOAD_BEGUN, ModelEvent.LISTED),
    ModelState.ANSWERED: (ModelEvent.LOAD_BEGUN, ModelEvent.LOADED),
    ModelState.UNCONFIRMED: (ModelEvent.LOAD_BEGUN, ModelEvent.LISTED, ModelEvent.LOADED),
    ModelState.LOADED: (ModelEvent.LISTED,),
    ModelState.UNLOADING: (ModelEvent.LISTED, ModelEvent.UNLOAD_BEGUN),
    ModelState.UNLOADING_EARLY: (ModelEvent.LOAD_BEGUN, ModelEvent.LISTED, ModelEvent.UNLOAD_BEGUN),
    ModelState.UNLISTED: (ModelEvent.LOAD_BEGUN, ModelEvent.LOADED, ModelEvent.MISSING),
}
# A load begins only for an absent model and ends only if it has begun. Only listed models are unloaded.
IMPOSSIBLE = {
    *((state, ModelEvent.LOAD_BEGUN) for state in ModelState if state is not ModelState.ABSENT),
    *((s, event) for s in ModelState if s not in LOADING_STATES for event in (ModelEvent.LOADED, ModelEvent.LOAD_FAILED)),
    *((state, ModelEvent.UNLOAD_BEGUN) for state in ModelState if state not in LISTED_STATES),
}
CELLS = [(state, event) for state in ModelState for event in ModelEvent]


def after(*events: ModelEvent) -> AdmissionState:
    state = AdmissionState.of(AdmissionPolicy(V, F), 0.0)
    for event in events:
        state = apply(state, FACTS[event])
    return state


@pytest.mark.parametrize(("state", "event"), [cell for cell in CELLS if cell not in IMPOSSIBLE])
def test_each_cell_is_reached_by_facts(state: ModelState, event: ModelEvent) -> None:
    before = after(*PATHS[state])
    assert before.models[0].state is state
    assert apply(before, FACTS[event]).models[0].state is next_state(state, event)


MEANINGS: dict[ModelState, set[str]] = {
    ModelState.ABSENT: set(),
    ModelState.LOADING: {"load runs"},
    ModelState.LOADING_LISTED: {"load runs", "listed"},
    ModelState.ANSWERED: {"unconfirmed"},
    ModelState.UNCONFIRMED: {"unconfirmed", "listed"},
    ModelState.LOADED: {"listed"},
    ModelState.UNLOADING: {"listed", "unload requested"},
    ModelState.UNLOADING_EARLY: {"load runs", "listed", "unload requested"},
    ModelState.UNLISTED: {"unlisted"},
}


DISPROVED: dict[ModelEvent, set[str]] = {
    ModelEvent.LIST_FAILED: {"unconfirmed"},
    ModelEvent.SERVER_AWAY: {"unconfirmed", "unlisted"},
    ModelEvent.LOAD_FAILED: {"load runs"},
    ModelEvent.UNLOAD_FAILED: {"unload requested"},
    ModelEvent.TURN_CHANGED: {"unlisted"},
}


def effect(known: set[str], event: ModelEvent) -> set[str]:
    """The table once more, by what each event proves: an oracle for every cell."""
    match event:
        case ModelEvent.LISTED:
            return known - {"unconfirmed", "unlisted"} | {"listed"}
        case ModelEvent.MISSING:
            left = known - {"listed", "unload requested", "unconfirmed"}
            return left | {"unlisted"} if "unconfirmed" in known else left
        case ModelEvent.LOAD_BEGUN:
            return known | {"load runs"}
        case ModelEvent.LOADED:
            return known - {"load runs"} | (set() if "unload requested" in known else {"unconfirmed"})
        case ModelEvent.UNLOAD_BEGUN:
            return known - {"unconfirmed"} | {"unload requested"}
    return known - DISPROVED[event]


@pytest.mark.parametrize(("state", "event"), [cell for cell in CELLS if cell not in IMPOSSIBLE])
def test_each_cell_follows_from_the_event(state: ModelState, event: ModelEvent) -> None:
    """The list, the running requests and the answers determine the state."""
    assert MEANINGS[next_state(state, event)] == effect(MEANINGS[state], event)


@pytest.mark.parametrize(("state", "event"), [cell for cell in CELLS if cell in IMPOSSIBLE])
def test_an_impossible_event_changes_nothing(state: ModelState, event: ModelEvent) -> None:
    assert next_state(state, event) is state


@pytest.mark.parametrize("state", ModelState)
def test_a_listed_model_is_in_the_last_list(state: ModelState) -> None:
    reached = after(*PATHS[state])
    assert reached.models[0].is_listed == any(model.name == V for model in reached.listed)
