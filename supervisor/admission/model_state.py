"""The life of one model on the Ollama server, as one table: state × event → next state.

`apply` turns each fact into at most one event for each model. The list that is requested after a load's answer is applied before
that answer. This is the usual way, with the events between the states:

    ABSENT --load--> LOADING --answered--> ANSWERED --listed--> LOADED --unload--> UNLOADING --missing--> ABSENT
                        |                     |                   ^
                      listed               missing                |
                        v                     v                   |
                  LOADING_LISTED          UNLISTED ---listed------+
                        |                     ^                   |
                     answered                 |                   |
                        v                     |                   |
                   UNCONFIRMED ---missing-----+                   |
                        |                                         |
                        +-----------------listed------------------+

A failed load leads back to ABSENT, or to LOADED if the model is listed. A LOADED model that is missing has expired and is ABSENT.
An UNLISTED model becomes ABSENT when the turn changes, or when the server is away. UNLOADING_EARLY is an unload that is
requested before a load's answer.
"""

from collections.abc import Mapping
from enum import Enum


class ModelState(Enum):
    """Knowledge about one model, from /api/ps and from our own requests. "The list" is the last answer of /api/ps."""

    ABSENT = "not in the list"
    LOADING = "load requested, not in the list"
    LOADING_LISTED = "load requested, already in the list"
    ANSWERED = "load answered, not in the list requested with its answer"
    UNCONFIRMED = "load answered, already in the list requested with its answer"
    LOADED = "in the list"
    UNLOADING = "in the list, unload requested"
    UNLOADING_EARLY = "in the list, unload requested before the load was answered"
    UNLISTED = "load answered, not in the next list: the server uses another name, or keeps no model"


class ModelEvent(Enum):
    """One step in the life of a model."""

    LISTED = "in a new list"
    MISSING = "not in a new list"
    LIST_FAILED = "no list"
    LOAD_BEGUN = "load requested"
    LOADED = "load answered"
    LOAD_FAILED = "load failed"
    UNLOAD_BEGUN = "unload requested"
    UNLOAD_FAILED = "unload not possible"
    TURN_CHANGED = "another model became active"
    SERVER_AWAY = "no list, because no connection to the server can be made"


LISTED_STATES = frozenset(
    {
        ModelState.LOADING_LISTED,
        ModelState.UNCONFIRMED,
        ModelState.LOADED,
        ModelState.UNLOADING,
        ModelState.UNLOADING_EARLY,
    }
)
LOADING_STATES = frozenset({ModelState.LOADING, ModelState.LOADING_LISTED, ModelState.UNLOADING_EARLY})
UNLOADING_STATES = frozenset({ModelState.UNLOADING, ModelState.UNLOADING_EARLY})

# An event that is not in a state's row changes nothing.
MODEL_TRANSITIONS: Mapping[ModelState, Mapping[ModelEvent, ModelState]] = {
    ModelState.ABSENT: {
        ModelEvent.LISTED: ModelState.LOADED,
        ModelEvent.LOAD_BEGUN: ModelState.LOADING,
    },
    ModelState.LOADING: {
        ModelEvent.LISTED: ModelState.LOADING_LISTED,
        ModelEvent.LOADED: ModelState.ANSWERED,
        ModelEvent.LOAD_FAILED: ModelState.ABSENT,
    },
    ModelState.LOADING_LISTED: {
        ModelEvent.MISSING: ModelState.LOADING,
        ModelEvent.LOADED: ModelState.UNCONFIRMED,
        ModelEvent.LOAD_FAILED: ModelState.LOADED,
        ModelEvent.UNLOAD_BEGUN: ModelState.UNLOADING_EARLY,
    },
    ModelState.ANSWERED: {
        ModelEvent.LISTED: ModelState.LOADED,
        ModelEvent.MISSING: ModelState.UNLISTED,
        ModelEvent.LIST_FAILED: ModelState.ABSENT,  # the next list comes too late to prove anything about the load
        ModelEvent.SERVER_AWAY: ModelState.ABSENT,
    },
    ModelState.UNCONFIRMED: {
        ModelEvent.LISTED: ModelState.LOADED,
        ModelEvent.MISSING: ModelState.UNLISTED,
        ModelEvent.LIST_FAILED: ModelState.LOADED,
        ModelEvent.SERVER_AWAY: ModelState.LOADED,
        ModelEvent.UNLOAD_BEGUN: ModelState.UNLOADING,
    },
    ModelState.LOADED: {
        ModelEvent.MISSING: ModelState.ABSENT,
        ModelEvent.UNLOAD_BEGUN: ModelState.UNLOADING,
    },
    ModelState.UNLOADING: {
        ModelEvent.MISSING: ModelState.ABSENT,
        ModelEvent.UNLOAD_FAILED: ModelState.LOADED,
    },
    ModelState.UNLOADING_EARLY: {
        ModelEvent.MISSING: ModelState.LOADING,
        ModelEvent.LOADED: ModelState.UNLOADING,
        ModelEvent.LOAD_FAILED: ModelState.UNLOADING,
        ModelEvent.UNLOAD_FAILED: ModelState.LOADING_LISTED,
    },
    ModelState.UNLISTED: {
        ModelEvent.LISTED: ModelState.LOADED,
        ModelEvent.TURN_CHANGED: ModelState.ABSENT,  # it may have been evicted for the other model's turn: load it again
        ModelEvent.SERVER_AWAY: ModelState.ABSENT,  # it may return as a new process, without the model
    },
}


def next_state(state: ModelState, event: ModelEvent) -> ModelState:
    return MODEL_TRANSITIONS[state].get(event, state)
