"""Facts applied to the state of admission, the breaker, interference, and anomalies of Ollama's list."""

import math
from dataclasses import replace
from uuid import UUID

import pytest

from supervisor.admission.anomalies import Anomaly, AnomalyKind, find_anomalies
from supervisor.admission.apply import apply
from supervisor.admission.breaker import PROBE_SILENT, Breaker
from supervisor.admission.decision import UNLIMITED
from supervisor.admission.facts import (
    Backlog,
    BacklogSampled,
    CallEnded,
    CallsInFlight,
    DecisionPublished,
    Fact,
    FileFailed,
    HostMeasured,
    ListError,
    ListFailed,
    LoadBegun,
    LoadedModel,
    LoadEnded,
    ModelLockChanged,
    ModelsListed,
    ProbeBegun,
    ProbeEnded,
    UnloadBegun,
    UnloadEnded,
    WorkersSampled,
)
from supervisor.admission.interference import FORGET_SECONDS, Ewma, Interference, Speed
from supervisor.admission.model_state import ModelState
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.replacements import Replacements
from supervisor.admission.state import AdmissionState, ModelStatus, Stall
from supervisor.admission.turns import is_pair_too_big
from worker.ipc.contract import CallOutcome, ModelCall

NOW, MIB = 1000.0, 2**20
V, F = "see:latest", "say:latest"
POLICY = AdmissionPolicy(
    vision_model=V, feedback_model=F, num_parallel=4, vision_context_tokens=4096, feedback_context_tokens=8192
)
NEW = AdmissionState.of(POLICY, NOW)
ANSWERED, BUSY, FAILED, SILENT = CallOutcome.ANSWERED, CallOutcome.BUSY, CallOutcome.FAILED, CallOutcome.SILENT


def after(*facts: Fact, state: AdmissionState = NEW) -> AdmissionState:
    for fact in facts:
        state = apply(state, fact)
    return state


def model_of(state: AdmissionState, name: str = V) -> ModelStatus:
    found = state.model(name)
    assert found is not None
    return found


def breaker_of(state: AdmissionState, name: str = V) -> Breaker:
    return model_of(state, name).breaker


def speed_of(state: AdmissionState) -> tuple[Ewma, Ewma]:
    """Alone and together."""
    [speed] = [each for each in state.interference.speeds if each.model == V]
    return speed.alone, speed.together


def loaded_model(name: str, size_bytes: int = 100, digest: str | None = None, vram: int = 0, context: int = 4096) -> LoadedModel:
    return LoadedModel(name, digest or name, size_bytes, vram, context)


def listed(*models: LoadedModel, at: float = NOW) -> ModelsListed:
    return ModelsListed(models, at)


def ended(outcome: CallOutcome, model: str = V, *, at: float = NOW, speed: float | None = None, took: float = 0) -> CallEnded:
    return CallEnded(model, ModelCall(outcome, tokens_per_second=speed, answer_seconds=took), at)


def sampled(*models: str, leases: int = 0, at: float = NOW) -> WorkersSampled:
    """One call in flight to each of `models`."""
    return WorkersSampled(tuple(CallsInFlight(model, 1, NOW) for model in models), leases, 4, at)


def waiting(*backlogs: Backlog, at: float = NOW) -> BacklogSampled:
    return BacklogSampled(backlogs, at)


def published(slots: int, active: str | None = None, at: float = NOW) -> DecisionPublished:
    return DecisionPublished(slots, active, at)


def test_a_new_state() -> None:
    """Each model once, and the slots as the monitor before published them."""
    assert NEW.models == (ModelStatus(V, 4), ModelStatus(F, 4))
    assert (NEW.began_at_seconds, NEW.slots, NEW.slots_changed_at_seconds, NEW.listed_at_seconds) == (NOW, UNLIMITED, NOW, None)
    assert AdmissionState.of(POLICY, NOW, 2).slots == 2
    assert (NEW.used_bytes, NEW.in_flight, NEW.waiting) == (0, 0, 0)
    assert NEW.model("foreign") is None


def test_a_list_ends_a_failure_and_contains_sizes() -> None:
    """The largest size of a model is kept."""
    state = after(ListFailed(ListError.LATE, NOW), listed(loaded_model(V, 300), loaded_model("foreign", 50), at=NOW + 1))
    assert (state.listed_at_seconds, state.list_failure, state.reported_bytes) == (NOW + 1, None, 350)
    assert [(model.is_listed, model.size_bytes) for model in state.models] == [(True, 300), (False, 0)]
    later = after(listed(loaded_model(V, 200), loaded_model(F, 7)), state=state)
    assert [model.size_bytes for model in later.models] == [300, 7]
    assert model_of(after(listed(loaded_model(V, 301)), state=later)).size_bytes == 301


def test_a_failed_list_keeps_the_last_one_and_the_time_of_the_first_failure() -> None:
    """The reason is the latest, because it decides whether calls are possible."""
    state = after(listed(loaded_model(V)), ListFailed(ListError.LATE, NOW + 1), ListFailed(ListError.UNREACHABLE, NOW + 2))
    assert (state.list_failure, state.listed_at_seconds) == (ListFailed(ListError.UNREACHABLE, NOW + 1), NOW)
    assert (model_of(state).is_listed, state.is_server_away) == (True, True)
    assert not after(ListFailed(ListError.LATE, NOW + 3), state=state).is_server_away


UNREACHABLE = ListFailed(ListError.UNREACHABLE, NOW + 1)


def test_the_first_call_after_a_return_of_the_server_is_a_canary() -> None:
    """Each model ramps from one call. A list that was only late changes nothing."""
    state = after(listed(), UNREACHABLE, listed(at=NOW + 9))
    assert [model.breaker for model in state.models] == [Breaker.ramping(NOW + 9)] * 2
    assert (state.models[0].breaker.ramp, state.answers_since_seconds) == (1, NOW + 9)
    late = after(listed(), ListFailed(ListError.LATE, NOW + 1), listed(at=NOW + 9))
    assert ([model.breaker for model in late.models], late.answers_since_seconds) == ([Breaker()] * 2, NOW + 9)


def test_calls_to_a_server_that_is_away_say_nothing_about_the_model() -> None:
    """Its breaker stays closed and no call is asked alone, so the return costs no further wait."""
    state = after(UNREACHABLE, *9 * (ended(FAILED),))
    assert (breaker_of(state), model_of(state).alone) == (Breaker(), 0)


def test_a_first_load_that_failed_with_the_server_is_repeated_at_its_return() -> None:
    """A second one keeps its wait, because loads may be what ends the server."""
    failed = LoadBegun(V, NOW), LoadEnded(V, is_ok=False, at_seconds=NOW + 5)
    once = after(*failed, UNREACHABLE, listed(at=NOW + 9))
    assert (model_of(once).load_failures, model_of(once).load_failed_at_seconds) == (1, -math.inf)
    twice = after(*failed, *failed, UNREACHABLE, listed(at=NOW + 9))
    assert model_of(twice).load_failed_at_seconds == NOW + 5


def test_calls_that_died_together_are_asked_alone() -> None:
    """One by one until as many have ended, whatever their end. One death, or a second one later, is no such case."""
    died = after(ended(FAILED), ended(ANSWERED, at=NOW + 0.5), ended(FAILED, at=NOW + 1), ended(FAILED, "foreign"))
    assert (model_of(died).alone, model_of(died, F).alone) == (2, 0)
    again = after(ended(FAILED, at=NOW + 2), state=died)
    assert model_of(again).alone == 1
    assert model_of(after(ended(ANSWERED, at=NOW + 3), state=again)).alone == 0
    assert model_of(after(ended(FAILED), ended(FAILED, at=NOW + 1.1))).alone == 0
    assert model_of(after(ended(SILENT), ended(SILENT), ended(BUSY), ended(BUSY))).alone == 0


def test_models_that_replace_each_other_do_not_fit() -> None:
    """Three times in a row, not counting empty lists. Not if both were listed together, or an unload explains one."""
    see, say, load = listed(loaded_model(V)), listed(loaded_model(F)), listed()
    thrice = (see, load, say, say, load, see, load, say)
    assert not is_pair_too_big(after(*thrice[:-1]), POLICY)
    assert is_pair_too_big(after(*thrice), POLICY)
    assert is_pair_too_big(after(*thrice, UnloadBegun((F,), NOW), see), POLICY)
    assert not is_pair_too_big(after(*thrice, listed(loaded_model(V), loaded_model(F))), POLICY)
    assert not is_pair_too_big(after(*thrice[:-1], UnloadBegun((V,), NOW), say), POLICY)


def test_the_larger_of_reported_and_observed_memory_counts() -> None:
    """Observed memory is that of the processes and of the GPU, as far as they are visible."""
    host = HostMeasured(30, 1, 2, 0.5, 20, None, NOW)
    assert after(host).used_bytes == 50
    assert after(host, listed(loaded_model(V, 51))).used_bytes == 51
    assert after(replace(host, ollama_bytes=None)).observed_bytes == 20
    assert after(replace(host, gpu_bytes=None)).observed_bytes == 30


def test_five_failures_in_a_row_trip_the_breaker() -> None:
    """Of any transient kind. An answer before starts the count again, and a foreign model has no breaker."""
    four = after(*(ended(kind) for kind in (BUSY, FAILED, BUSY, BUSY)))
    assert breaker_of(four) == Breaker(failures=4)
    assert breaker_of(after(ended(BUSY, at=NOW + 1), state=four)) == Breaker(trips=1, tripped_at_seconds=NOW + 1)
    for outcome in (ANSWERED, CallOutcome.RUNAWAY):
        assert breaker_of(after(ended(outcome), state=four)) == Breaker()
    ignored = after(ended(CallOutcome.BAD_REQUEST), ended(BUSY, "foreign"), state=four)
    assert (ignored.models, breaker_of(ignored, F)) == (four.models, Breaker())


def test_two_silent_calls_trip_the_breaker() -> None:
    """Each used a whole timeout."""
    one = after(ended(SILENT))
    assert not breaker_of(one).is_tripped
    assert breaker_of(after(ended(SILENT), state=one)) == Breaker(0, 1, NOW, 0, is_silent=True)
    assert not breaker_of(after(ended(FAILED), state=one)).is_tripped


def with_breaker(breaker: Breaker) -> AdmissionState:
    return NEW.with_model(replace(model_of(NEW), breaker=breaker))


OPEN = Breaker(trips=1, tripped_at_seconds=NOW - 9)
RAMPING = replace(OPEN, is_answering=True)


def probed(error_class: str = "", *, began: float = NOW, at: float = NOW + 1) -> tuple[Fact, ...]:
    return ProbeBegun(V, began), ProbeEnded(V, error_class, at, 7.0)


def test_only_a_probe_changes_an_open_breaker() -> None:
    """Calls that began before it opened are ignored."""
    for outcome in CallOutcome:
        assert breaker_of(after(ended(outcome), state=with_breaker(OPEN))) == OPEN
    assert breaker_of(after(*probed(), state=with_breaker(OPEN))) == RAMPING


def test_a_failed_probe_leaves_the_breaker_open() -> None:
    """Its class is remembered for the status. A silent one shows that the model gives no token to anyone."""
    failed = breaker_of(after(*probed("ServerError"), state=with_breaker(OPEN)))
    assert (failed.is_open, failed.trips, failed.error_class, failed.is_silent) == (True, 1, "ServerError", False)
    assert (failed.probed_at_seconds, failed.failed_probe_began_at_seconds, failed.retry_after_seconds) == (NOW + 1, NOW, 7.0)
    assert breaker_of(after(*probed(PROBE_SILENT), state=with_breaker(OPEN))).is_silent


def test_a_probe_of_an_earlier_trip_proves_nothing() -> None:
    """Its answer may be from before the failures that tripped the breaker again."""
    again = Breaker(trips=2, tripped_at_seconds=NOW)
    assert breaker_of(after(ProbeEnded(V, "", NOW), state=with_breaker(again))) == again
    assert breaker_of(after(*probed(), state=with_breaker(Breaker()))).is_tripped is False


def test_a_failed_call_after_a_probe_trips_again() -> None:
    assert breaker_of(after(ended(SILENT), state=with_breaker(RAMPING))) == Breaker(0, 2, NOW, 0, is_silent=True)
    ramping = with_breaker(replace(RAMPING, answers=2))
    assert breaker_of(after(ended(BUSY), state=ramping)) == Breaker(0, 2, NOW)


def test_recovery_doubles_the_calls() -> None:
    """The canary, then 2. With 4 calls the model has all that it takes at once, and the breaker closes."""
    ramps, state = [], with_breaker(RAMPING)
    for _ in range(3):
        ramps.append(breaker_of(state).ramp)
        state = after(ended(ANSWERED), state=state)
    assert ramps == [1, 2, 2]
    assert breaker_of(state) == Breaker()


@pytest.mark.parametrize(("trips", "waits"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 8.0), (9999, 8.0)])
def test_probes_that_calls_contradict_become_rarer(trips: int, waits: float) -> None:
    """Up to a small maximum. A probe that fails does not make the next one later, however long the outage is."""
    breaker = Breaker(trips=trips, tripped_at_seconds=NOW)
    assert not breaker.is_probe_due(NOW + waits - 0.001, 2.0)
    assert breaker.is_probe_due(NOW + waits, 2.0)
    late = NOW + 20 * 60
    failed = replace(breaker, probed_at_seconds=late)
    assert not failed.is_probe_due(late + 1.999, 2.0)
    assert failed.is_probe_due(late + 2.0, 2.0)
    assert not replace(breaker, is_answering=True).is_probe_due(late, 2.0)
    assert not replace(breaker, probe_began_at_seconds=NOW).is_probe_due(late, 2.0)
    assert not Breaker(tripped_at_seconds=NOW).is_probe_due(late, 2.0)


def test_speeds_alone_and_together() -> None:
    """Only answered calls with a speed count. Calls of the same model do not make it a call together."""
    alone = after(ended(ANSWERED, speed=100.0), ended(ANSWERED), ended(BUSY, speed=7.0))
    assert speed_of(alone) == (Ewma(100.0, 1), Ewma())
    assert speed_of(after(sampled(F), ended(ANSWERED, speed=10.0), state=alone)) == (Ewma(100.0, 1), Ewma(10.0, 1))
    assert speed_of(after(sampled(V), ended(ANSWERED, speed=200.0), state=alone))[0] == Ewma(130.0, 2)


@pytest.mark.parametrize(("took", "is_alone"), [(4.0, True), (5.0, True), (6.0, False)])
@pytest.mark.parametrize("is_reported", [True, False])
def test_a_call_that_overlapped_another_was_not_alone(took: float, is_alone: bool, is_reported: bool) -> None:
    """Even if the other one ended first, and even if its end was not reported: it was seen in flight 5 s ago."""
    other = (ended(ANSWERED, F, at=NOW - 5),) if is_reported else ()
    state = after(sampled(F, at=NOW - 5), *other, sampled(at=NOW - 4), ended(ANSWERED, speed=7.0, took=took))
    assert speed_of(state) == ((Ewma(7.0, 1), Ewma()) if is_alone else (Ewma(), Ewma(7.0, 1)))


def test_a_speed_together_is_dropped_after_an_hour() -> None:
    """During turns it is not measured, so turns that were right once would never end."""
    both = after(sampled(F), *2 * (ended(ANSWERED, speed=10.0),))
    state = after(sampled(), ended(ANSWERED, at=NOW + 60, speed=90.0), state=both)
    assert speed_of(after(sampled(at=NOW + FORGET_SECONDS - 1), state=state)) == (Ewma(90.0, 1), Ewma(10.0, 2))
    assert speed_of(after(sampled(at=NOW + FORGET_SECONDS), state=state)) == (Ewma(90.0, 1), Ewma())


def test_a_mean_follows_slowly_and_is_known_after_three_samples() -> None:
    mean = Ewma().with_sample(10.0).with_sample(20.0)
    assert (mean.value, mean.is_known) == (13.0, False)
    assert mean.with_sample(13.0).with_sample(13.0) == Ewma(13.0, 3)
    assert mean.with_sample(13.0).is_known


def test_the_share_of_its_speed_that_remains() -> None:
    """None until both speeds are known."""
    assert Speed(V, Ewma(100.0, 3), Ewma(25.0, 3)).share == 0.25
    assert Speed(V, Ewma(0.5, 3), Ewma(0.5, 3)).share == 1.0
    for alone, together in ((Ewma(100.0, 2), Ewma(25.0, 3)), (Ewma(100.0, 3), Ewma(25.0, 2)), (Ewma(0.0, 3), Ewma(25.0, 3))):
        assert Speed(V, alone, together).share is None


def test_workers_are_sampled() -> None:
    """A model without an entry has no call."""
    calls = CallsInFlight(V, 2, NOW - 7), CallsInFlight("foreign", 9, NOW)
    state = after(WorkersSampled(calls, 3, 4, NOW))
    assert (model_of(state).in_flight, model_of(state).progress_at_seconds, model_of(state).has_work) == (2, NOW - 7, True)
    assert (state.in_flight, state.leases, state.workers) == (2, 3, 4)
    assert model_of(after(sampled(), state=state)).in_flight == 0


def test_the_backlog_is_sampled() -> None:
    """A model without an entry has no waiting job."""
    state = after(waiting(Backlog(V, 5, 12.0), Backlog(F, 1, 3.0)))
    assert (model_of(state).jobs, model_of(state).oldest_seconds, model_of(state).has_work, state.waiting) == (5, 12.0, True, 6)
    later = model_of(after(waiting(Backlog(F, 1, 3.0)), state=state))
    assert (later.jobs, later.oldest_seconds, later.has_work) == (0, 0.0, False)


STALLED = after(waiting(Backlog(V, 1, 0.0)))


def test_a_stall_begins_when_jobs_wait_and_no_worker_holds_one() -> None:
    assert NEW.stall is None
    assert STALLED.stall == Stall(NOW)
    assert after(waiting(Backlog(V, 2, 9.0), at=NOW + 9), sampled(at=NOW + 9), state=STALLED).stall == Stall(NOW)
    assert after(sampled(at=NOW + 5), state=replace(STALLED, stall=None)).stall == Stall(NOW + 5)


ENDS = {
    "no job waits": waiting(),
    "a lease": sampled(leases=1),
    "a call in flight": sampled(V),
    "a call that ended between two samples": ended(ANSWERED),
    "a file that could not be read between two samples": FileFailed("StoreFailed", UUID(int=1), NOW),
}


@pytest.mark.parametrize("fact", ENDS.values(), ids=ENDS.keys())
def test_a_stall_ends(fact: Fact) -> None:
    assert after(fact, state=STALLED).stall is None


def test_a_load_is_timed_and_its_failures_are_counted() -> None:
    begun = after(LoadBegun(V, NOW))
    assert (model_of(begun).is_loading, model_of(begun).load_began_at_seconds) == (True, NOW)
    failed = after(LoadEnded(V, is_ok=False, at_seconds=NOW + 5), state=begun)
    assert not model_of(failed).is_loading
    assert (model_of(failed).load_failures, model_of(failed).load_failed_at_seconds) == (1, NOW + 5)
    twice = after(LoadBegun(V, NOW + 6), LoadEnded(V, is_ok=False, at_seconds=NOW + 7), state=failed)
    assert (model_of(twice).load_failures, model_of(twice).load_seconds) == (2, 0.0)
    done = model_of(after(LoadBegun(V, NOW + 6), LoadEnded(V, is_ok=True, at_seconds=NOW + 9), state=twice))
    assert (done.is_loading, done.load_failures, done.load_seconds) == (False, 0, 3.0)
    assert after(LoadBegun("foreign", NOW)) == NEW


def test_a_call_that_loads_the_model_ends_its_failed_loads() -> None:
    """Otherwise the first load after the next unload would wait as if it had failed."""
    failed = after(LoadBegun(V, NOW), LoadEnded(V, is_ok=False, at_seconds=NOW + 5))
    assert model_of(after(ended(ANSWERED, at=NOW + 6), state=failed)).load_failures == 0
    assert model_of(after(ended(FAILED, at=NOW + 6), state=failed)).load_failures == 1


def test_an_unloaded_model_is_gone_when_the_list_omits_it() -> None:
    """The time of each end counts, because its memory is released after it."""
    vision, feedback = loaded_model(V), loaded_model(F)
    both = after(listed(vision, feedback), UnloadBegun((V,), NOW + 1), UnloadBegun((F, V), NOW + 2))
    assert [(model.is_unloading, model.unload_began_at_seconds) for model in both.models] == 2 * [(True, NOW + 2)]
    still = after(UnloadEnded((V, F), is_ok=True, at_seconds=NOW + 3), listed(vision, feedback, at=NOW + 3), state=both)
    assert ([model.is_unloading for model in still.models], still.gone_at_seconds) == ([True, True], -math.inf)
    one = after(listed(feedback, at=NOW + 4), state=still)
    assert ([model.is_unloading for model in one.models], one.gone_at_seconds) == ([False, True], NOW + 4)
    gone = after(listed(at=NOW + 6), listed(at=NOW + 7), state=one)
    assert ([model.is_unloading for model in gone.models], gone.gone_at_seconds) == ([False, False], NOW + 6)


def test_a_failed_unload_is_forgotten() -> None:
    both = listed(loaded_model(V), loaded_model(F))
    state = after(both, UnloadBegun((V, F), NOW), UnloadEnded((V,), is_ok=False, at_seconds=NOW + 1))
    assert [(model.is_unloading, model.unload_began_at_seconds) for model in state.models] == [(False, -math.inf), (True, NOW)]


def test_an_unload_is_an_eviction_only_in_a_stall_with_all_slots_closed() -> None:
    unload = UnloadBegun((V,), NOW)
    assert after(unload, state=replace(STALLED, slots=0)).stall == Stall(NOW, has_evicted=True)
    assert after(unload, state=STALLED).stall == Stall(NOW)
    assert after(unload, state=replace(NEW, slots=0)).stall is None


def test_a_model_lock_is_held_or_not() -> None:
    assert after(ModelLockChanged(V, NOW)).locked_model == V
    assert after(ModelLockChanged(V, NOW), ModelLockChanged(None, NOW)).locked_model is None


def test_a_published_decision_sets_the_times_of_changes() -> None:
    """The same decision again changes nothing."""

    def times(state: AdmissionState) -> tuple[float, float]:
        return state.slots_changed_at_seconds, state.turn_since_seconds

    state = after(published(2, V, at=NOW + 1))
    assert (state.slots, state.active, times(state)) == (2, V, (NOW + 1, NOW + 1))
    assert after(published(2, V, at=NOW + 2), state=state) == state
    assert times(after(published(1, V, at=NOW + 2), state=state)) == (NOW + 2, NOW + 1)
    assert times(after(published(2, F, at=NOW + 2), state=state)) == (NOW + 1, NOW + 2)


def found(*models: LoadedModel, used: int | None = None, calls_to: tuple[str, ...] = ()) -> set[tuple[AnomalyKind, str]]:
    host = HostMeasured(used, 0, 0, None, None, None, NOW)
    anomalies = find_anomalies(after(listed(*models), host, sampled(*calls_to)), POLICY)
    assert len(anomalies) == len(set(anomalies))
    return {(anomaly.kind, anomaly.model) for anomaly in anomalies}


def test_anomalies_of_the_list() -> None:
    """An example of each kind, and none where all is as requested."""
    vision, feedback, small = loaded_model(V, 1000 * MIB), loaded_model(F, 2000 * MIB, context=8192), loaded_model(V, 100 * MIB)
    assert found(vision, feedback, used=3750 * MIB) == set()
    assert found(vision, feedback, used=3750 * MIB + 1) == {(AnomalyKind.HOLDS_MORE, "")}
    assert found(small, used=356 * MIB) == set()
    assert found(small, used=356 * MIB + 1) == {(AnomalyKind.HOLDS_MORE, "")}
    assert found(used=9999 * MIB) == set()
    assert found(loaded_model("foreign")) == {(AnomalyKind.FOREIGN, "foreign")}
    assert found(vision, calls_to=(F,)) == {(AnomalyKind.MISSING, F)}
    assert found(vision, calls_to=(V,)) == set()
    assert found(loaded_model(F, context=4096)) == {(AnomalyKind.CONTEXT, F)}
    narrow = replace(loaded_model(F, context=4096), largest_context_tokens=4096)  # it has no more, so Ollama gives it no more
    assert found(narrow) == set()
    assert found(replace(narrow, context_tokens=2048)) == {(AnomalyKind.CONTEXT, F)}
    assert found(loaded_model(V, 100, vram=99)) == {(AnomalyKind.SPILLED, V)}
    assert found(loaded_model(V, 100, vram=1)) == {(AnomalyKind.SPILLED, V)}
    assert found(loaded_model(V, 100, vram=100)) == set()
    same = loaded_model(V, digest="same"), loaded_model("also", digest="same")
    assert found(*same) == {(AnomalyKind.ALIAS, V), (AnomalyKind.FOREIGN, "also")}
    assert find_anomalies(after(sampled(V)), POLICY) == ()


def test_a_model_that_fell_off_the_gpu_is_an_anomaly() -> None:
    """A model that was never on one is none, and its return ends the anomaly."""
    state = after(listed(loaded_model(V, vram=100)), listed(loaded_model(V)))
    assert Anomaly(AnomalyKind.FELL_OFF, V) in find_anomalies(state, POLICY)
    assert find_anomalies(after(listed(loaded_model(V, vram=100)), state=state), POLICY) == ()
    assert find_anomalies(after(listed(loaded_model(V))), POLICY) == ()
    assert find_anomalies(after(listed(), state=state), POLICY) == ()


def test_a_loaded_model_that_is_not_listed_is_an_anomaly() -> None:
    """The anomaly ends when the model is listed or the turn changes."""
    state = after(listed(), LoadBegun(V, NOW), LoadEnded(V, is_ok=True, at_seconds=NOW + 1), listed(loaded_model(F)))
    assert model_of(state).state is ModelState.UNLISTED
    assert find_anomalies(state, POLICY)[0] == Anomaly(AnomalyKind.UNLISTED, V)


def test_a_context_that_was_not_requested_is_no_anomaly() -> None:
    state = after(listed(loaded_model(V, context=1)))
    assert find_anomalies(state, replace(POLICY, vision_context_tokens=None)) == ()
    assert find_anomalies(state, POLICY) == (Anomaly(AnomalyKind.CONTEXT, V),)


def test_the_first_state_follows_the_policy() -> None:
    """Both models with the calls that they may have, the slots of the monitor before, and no pause that is already over."""
    state = AdmissionState.of(POLICY, NOW, 3)
    assert [(model.name, model.num_parallel) for model in state.models] == [(V, 4), (F, 4)]
    assert [speed.model for speed in state.interference.speeds] == [V, F]
    assert (state.slots, state.slots_changed_at_seconds) == (3, NOW)


def test_an_unload_explains_the_next_replacement() -> None:
    """The count starts again at an unload. Three replacements in a row prove that the pair is too large, also after it."""
    twice = Replacements().listed((V,)).listed((F,)).listed((V,))
    assert (twice.last, twice.count, twice.unload_begun()) == (V, 2, Replacements(None, 0))
    proof = twice.listed((F,))
    assert proof.prove_too_large
    assert proof.unload_begun() == Replacements(None, 3)


def test_one_model_alone_harms_no_other() -> None:
    """A slow single model has no other to take turns with."""
    slow = Speed(V, alone=Ewma(100.0, 3), together=Ewma(1.0, 3))
    assert not Interference((slow,)).is_harmful(0.9)
    assert Interference((slow, Speed(F, alone=Ewma(100.0, 3), together=Ewma(1.0, 3)))).is_harmful(0.9)


def test_the_end_of_a_call_is_remembered() -> None:
    """A call of the other model that began before that end counts as measured together."""
    speeds = Interference.of((V, F)).call_ended(F, NOW).speeds
    assert [speed.busy_until_seconds for speed in speeds] == [-math.inf, NOW]
