"""What admission knows after each fact, the breaker and the speed of a model, and what of Ollama's list cannot be believed."""

import math
from dataclasses import replace

import pytest

from supervisor.admission.anomalies import Anomaly, AnomalyKind, notes
from supervisor.admission.apply import apply
from supervisor.admission.breaker import Breaker
from supervisor.admission.decision import FREE
from supervisor.admission.facts import (
    Backlog,
    BacklogSampled,
    CallEnded,
    CallsInFlight,
    DecisionPublished,
    Fact,
    HostMeasured,
    ListError,
    ListFailed,
    LoadBegun,
    Loaded,
    LoadedModel,
    ModelLockChanged,
    ModelsListed,
    UnloadBegun,
    Unloaded,
    WorkersSampled,
)
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState, Hold, ModelStatus
from supervisor.admission.throughput import TOGETHER_SECONDS, Ewma, Throughput
from supervisor.admission.turns import is_pair_too_big
from worker.ipc.contract import CallOutcome, ModelCall

NOW = 1000.0
V, F = "see:latest", "say:latest"
POLICY = AdmissionPolicy(
    vision_model=V, feedback_model=F, num_parallel=4, vision_context_tokens=4096, feedback_context_tokens=8192
)
NEW = AdmissionState.of(POLICY, NOW)
MIB = 2**20


def after(*facts: Fact, state: AdmissionState = NEW) -> AdmissionState:
    for fact in facts:
        state = apply(state, fact)
    return state


def model_of(state: AdmissionState, name: str = V) -> ModelStatus:
    found = state.model(name)
    assert found is not None
    return found


def loaded_model(name: str, size_bytes: int = 100, digest: str | None = None, vram: int = 0, context: int = 4096) -> LoadedModel:
    return LoadedModel(name, digest or name, size_bytes, vram, context)


def listed(*models: LoadedModel, at: float = NOW) -> ModelsListed:
    return ModelsListed(models, at)


def ended(outcome: CallOutcome, model: str = V, *, at: float = NOW, speed: float | None = None, took: float = 0) -> CallEnded:
    return CallEnded(model, ModelCall(outcome, tokens_per_second=speed, answer_seconds=took), at)


def working(*calls: CallsInFlight, leases: int = 0, at: float = NOW) -> WorkersSampled:
    return WorkersSampled(calls, leases, 4, at)


def waiting(*backlogs: Backlog, at: float = NOW) -> BacklogSampled:
    return BacklogSampled(backlogs, at)


def told(slots: int, vision_calls: int = FREE, turn: str | None = None, at: float = NOW) -> DecisionPublished:
    return DecisionPublished(slots, ((F, FREE), (V, vision_calls)), turn, at)


def test_a_new_state_knows_nothing() -> None:
    """Each model once, everything as the workers have been told, from now on."""
    new = AdmissionState.of(POLICY, NOW)
    assert new.models == (ModelStatus(V, 4), ModelStatus(F, 4))
    assert (new.began_at_seconds, new.slots, new.slots_changed_at_seconds, new.listed_at_seconds) == (NOW, FREE, NOW, None)
    assert AdmissionState.of(POLICY, NOW, 2).slots == 2
    assert (NEW.used_bytes, NEW.in_flight, NEW.waiting) == (0, 0, 0)
    assert NEW.model("foreign") is None


def test_a_list_tells_sizes_and_ends_a_silence() -> None:
    """The largest size of a model is kept, whatever is listed later."""
    state = after(ListFailed(ListError.LATE, NOW), listed(loaded_model(V, 300), loaded_model("foreign", 50), at=NOW + 1))
    assert (state.listed_at_seconds, state.unlisted, state.reported_bytes) == (NOW + 1, None, 350)
    assert state.is_listed(V)
    assert not state.is_listed(F)
    assert [model.size_bytes for model in state.models] == [300, 0]
    later = after(listed(loaded_model(V, 200), loaded_model(F, 7)), state=state)
    assert [model.size_bytes for model in later.models] == [300, 7]
    assert after(listed(loaded_model(V, 301)), state=later).models[0].size_bytes == 301


def test_models_that_stand_in_each_others_place_do_not_fit() -> None:
    """Three times in a row with nothing but loads in between; not where both were seen together, or we asked one to leave."""
    see, say, load = listed(loaded_model(V)), listed(loaded_model(F)), listed()
    thrice = (see, load, say, say, load, see, load, say)
    assert not is_pair_too_big(after(*thrice[:-1]), POLICY)
    assert is_pair_too_big(after(*thrice), POLICY)
    assert is_pair_too_big(after(*thrice, UnloadBegun((F,), NOW), see), POLICY)
    assert not is_pair_too_big(after(*thrice, listed(loaded_model(V), loaded_model(F))), POLICY)
    assert not is_pair_too_big(after(*thrice[:-1], UnloadBegun((V,), NOW), say), POLICY)


def test_a_silence_keeps_what_was_known_and_when_it_began() -> None:
    first = ListFailed(ListError.LATE, NOW + 1)
    state = after(listed(loaded_model(V)), first, ListFailed(ListError.INVALID, NOW + 2))
    assert (state.unlisted, state.listed_at_seconds, state.is_listed(V)) == (first, NOW, True)


def test_the_larger_of_reported_and_observed_is_used() -> None:
    """Processes and GPU together, where they can be seen."""
    host = HostMeasured(30, 1, 2, 0.5, 20, None, NOW)
    assert after(host).used_bytes == 50
    assert after(host, listed(loaded_model(V, 51))).used_bytes == 51
    assert after(replace(host, ollama_bytes=None)).observed_bytes == 20
    assert after(replace(host, gpu_bytes=None)).observed_bytes == 30


def test_five_failures_trip_the_breaker_and_one_answer_before_resets_it() -> None:
    """In a row, of any transient kind; a model of somebody else is nobody's."""
    kinds = (CallOutcome.BUSY, CallOutcome.FAILED, CallOutcome.BUSY, CallOutcome.BUSY)
    four = after(*(ended(kind) for kind in kinds))
    assert model_of(four).breaker == Breaker(failures=4)
    assert model_of(after(ended(CallOutcome.BUSY, at=NOW + 1), state=four)).breaker == Breaker(
        trips=1, tripped_at_seconds=NOW + 1
    )
    for outcome in (CallOutcome.ANSWERED, CallOutcome.RUNAWAY):
        assert model_of(after(ended(outcome), state=four)).breaker == Breaker()
    assert after(ended(CallOutcome.REFUSED), ended(CallOutcome.BUSY, "foreign"), state=four) == four
    assert model_of(four, F).breaker == Breaker()


def test_two_silences_trip_the_breaker() -> None:
    """Each had a whole timeout: more would burn more jobs."""
    one = after(ended(CallOutcome.SILENT))
    assert not model_of(one).breaker.is_tripped
    assert model_of(after(ended(CallOutcome.SILENT), state=one)).breaker == Breaker(0, 1, NOW, 0, is_silent=True)
    assert not model_of(after(ended(CallOutcome.FAILED), state=one)).breaker.is_tripped


TRIPPED = NEW.with_model(replace(model_of(NEW), breaker=Breaker(trips=1, tripped_at_seconds=NOW - 9, is_probed=True)))


def test_calls_from_before_say_nothing_of_an_open_breaker() -> None:
    """Only a probe, which the workers have been allowed, closes it or trips it again."""
    shut = TRIPPED.with_model(replace(model_of(TRIPPED), breaker=replace(model_of(TRIPPED).breaker, is_probed=False)))
    for outcome in CallOutcome:
        assert model_of(after(told(FREE, 0), ended(outcome), state=shut)).breaker == model_of(shut).breaker
        if outcome is not CallOutcome.REFUSED:  # whatever has closed the gate before the probe's end
            probed = after(told(FREE, 1), told(FREE, 0), ended(outcome), state=shut)
            assert model_of(probed).breaker not in {model_of(shut).breaker, model_of(TRIPPED).breaker}
    assert not model_of(after(told(FREE, 1))).breaker.is_probed


def test_a_probe_that_fails_trips_again() -> None:
    breaker = model_of(after(ended(CallOutcome.SILENT), state=TRIPPED)).breaker
    assert breaker == Breaker(0, 2, NOW, 0, is_silent=True)
    ramping = TRIPPED.with_model(replace(model_of(TRIPPED), breaker=Breaker(trips=1, answers=2, is_probed=True)))
    assert model_of(after(ended(CallOutcome.BUSY), state=ramping)).breaker == Breaker(0, 2, NOW)


def test_recovery_doubles_with_the_calls_that_were_answered() -> None:
    """1, 2, 2, 4: then the model has all that it takes at once, and the breaker is closed."""
    ramps, state = [], TRIPPED
    for _ in range(3):
        ramps.append(model_of(state).breaker.ramp)
        state = after(ended(CallOutcome.ANSWERED), state=state)
    assert ramps == [1, 2, 2]
    assert model_of(state).breaker == Breaker()


@pytest.mark.parametrize(("trips", "waits"), [(1, 5.0), (2, 10.0), (3, 20.0), (4, 30.0), (9999, 30.0)])
def test_an_open_breaker_waits_longer_each_time(trips: int, waits: float) -> None:
    """Doubling up to a bound; an answer ends the wait, and a breaker that never tripped is not open."""
    breaker = Breaker(trips=trips, tripped_at_seconds=NOW)
    assert breaker.is_open(NOW + waits - 0.001, 5, 30)
    assert not breaker.is_open(NOW + waits, 5, 30)
    assert not replace(breaker, answers=1).is_open(NOW, 5, 30)
    assert not Breaker(tripped_at_seconds=NOW).is_open(NOW, 5, 30)


def test_speed_is_known_alone_and_together() -> None:
    """By whether the other model has calls; only what was answered, and told its speed, counts."""
    alone = after(ended(CallOutcome.ANSWERED, speed=100.0), ended(CallOutcome.ANSWERED), ended(CallOutcome.BUSY, speed=7.0))
    assert model_of(alone).speed == Throughput(Ewma(100.0, 1), Ewma())
    both = after(working(CallsInFlight(F, 1, NOW)), ended(CallOutcome.ANSWERED, speed=10.0), state=alone)
    assert model_of(both).speed == Throughput(Ewma(100.0, 1), Ewma(10.0, 1))
    own = after(working(CallsInFlight(V, 1, NOW)), ended(CallOutcome.ANSWERED, speed=200.0), state=alone)
    assert model_of(own).speed.alone == Ewma(130.0, 2)


@pytest.mark.parametrize(("took", "is_alone"), [(4.0, True), (5.0, True), (6.0, False)])
def test_who_ends_last_was_not_alone(took: float, is_alone: bool) -> None:
    """Two calls that starve each other end one after the other: the second one's speed is not that of a model alone."""
    other = after(working(CallsInFlight(F, 1, NOW), at=NOW - 9), ended(CallOutcome.ANSWERED, F, at=NOW - 5), working(at=NOW - 5))
    state = after(ended(CallOutcome.ANSWERED, speed=7.0, took=took), state=other)
    assert model_of(state).speed == (Throughput(alone=Ewma(7.0, 1)) if is_alone else Throughput(together=Ewma(7.0, 1)))


def test_a_call_that_was_seen_and_tells_no_end_counts_as_well() -> None:
    """What a worker tells may be lost; that a call was in flight was seen."""
    state = after(
        working(CallsInFlight(F, 1, NOW), at=NOW - 3), working(at=NOW - 2), ended(CallOutcome.ANSWERED, speed=7.0, took=4.0)
    )
    assert model_of(state).speed == Throughput(together=Ewma(7.0, 1))


def test_models_are_tried_together_again_after_an_hour() -> None:
    """While they take turns nothing new is learnt of them together: turns that once were right would last for ever."""
    both = after(
        working(CallsInFlight(F, 1, NOW)), ended(CallOutcome.ANSWERED, speed=10.0), ended(CallOutcome.ANSWERED, speed=10.0)
    )
    state = after(working(), ended(CallOutcome.ANSWERED, at=NOW + 60, speed=90.0), state=both)
    known = Throughput(Ewma(90.0, 1), Ewma(10.0, 2))
    assert model_of(after(working(at=NOW + TOGETHER_SECONDS - 1), state=state)).speed == known
    assert model_of(after(working(at=NOW + TOGETHER_SECONDS), state=state)).speed == Throughput(Ewma(90.0, 1))


def test_a_mean_follows_slowly_and_is_known_after_three() -> None:
    mean = Ewma().with_sample(10.0).with_sample(20.0)
    assert (mean.value, mean.is_known) == (13.0, False)
    assert mean.with_sample(13.0).is_known
    assert mean.with_sample(13.0).with_sample(13.0).samples == 3


def test_the_part_that_the_other_model_leaves() -> None:
    """None while one of the two speeds is not known."""
    assert Throughput(Ewma(100.0, 3), Ewma(25.0, 3)).part == 0.25
    assert Throughput(Ewma(100.0, 2), Ewma(25.0, 3)).part is None
    assert Throughput(Ewma(100.0, 3), Ewma(25.0, 2)).part is None
    assert Throughput(Ewma(0.0, 3), Ewma(25.0, 3)).part is None
    assert Throughput(Ewma(0.5, 3), Ewma(0.5, 3)).part == 1.0


def test_what_our_workers_do() -> None:
    """A model that is not named has no call; its progress is of no interest then."""
    state = after(working(CallsInFlight(V, 2, NOW - 7), CallsInFlight("foreign", 9, NOW), leases=3))
    assert (model_of(state).in_flight, model_of(state).progress_at_seconds) == (2, NOW - 7)
    assert (state.in_flight, state.leases, state.workers) == (2, 3, 4)
    assert model_of(after(working(), state=state)).in_flight == 0


def test_what_waits() -> None:
    """For each model, how much and for how long."""
    state = after(waiting(Backlog(V, 5, 12.0), Backlog(F, 1, 3.0)))
    assert (model_of(state).jobs, model_of(state).oldest_seconds, state.waiting) == (5, 12.0, 6)
    assert (model_of(state).has_work, model_of(NEW).has_work) == (True, False)
    later = after(waiting(Backlog(F, 1, 3.0)), state=state)
    assert (model_of(later).jobs, model_of(later).oldest_seconds) == (0, 0.0)
    assert not model_of(later).has_work
    assert model_of(after(working(CallsInFlight(V, 1, NOW)))).has_work


HELD = after(waiting(Backlog(V, 1, 0.0)))


def test_work_is_held_while_it_waits_and_nobody_does_any() -> None:
    """From the first look that finds it so, to the first that does not."""
    assert HELD.held == Hold(NOW)
    assert after(waiting(Backlog(V, 2, 9.0), at=NOW + 9), working(at=NOW + 9), state=HELD).held == Hold(NOW)
    assert after(waiting(), state=HELD).held is None
    assert after(working(leases=1), state=HELD).held is None
    assert after(working(CallsInFlight(V, 1, NOW)), state=HELD).held is None
    assert after(working(at=NOW + 5), state=replace(HELD, held=None)).held == Hold(NOW + 5)
    assert after(waiting(Backlog(V, 1, 0.0), at=NOW + 6)).held == Hold(NOW + 6)
    assert NEW.held is None


def test_a_job_between_two_looks_ends_a_hold() -> None:
    """Its call tells of it."""
    assert after(ended(CallOutcome.ANSWERED), state=HELD).held is None


def test_a_load_from_its_begin_to_its_end() -> None:
    """How long it took is known afterwards; one that failed is counted."""
    begun = after(LoadBegun(V, NOW))
    assert (model_of(begun).is_loading, model_of(begun).load_began_at_seconds) == (True, NOW)
    failed = model_of(after(Loaded(V, is_ok=False, at_seconds=NOW + 5), state=begun))
    assert (failed.is_loading, failed.load_failures, failed.load_failed_at_seconds, failed.load_seconds) == (
        False,
        1,
        NOW + 5,
        0.0,
    )
    twice = after(LoadBegun(V, NOW + 6), Loaded(V, is_ok=False, at_seconds=NOW + 7), state=begun.with_model(failed))
    assert model_of(twice).load_failures == 2
    done = model_of(after(LoadBegun(V, NOW + 6), Loaded(V, is_ok=True, at_seconds=NOW + 9), state=twice))
    assert (done.is_loading, done.load_failures, done.load_seconds) == (False, 0, 3.0)
    assert after(LoadBegun("foreign", NOW)) == NEW


def test_a_model_that_was_loaded_and_is_not_listed() -> None:
    """By the first look after the load, until it is listed; one that was there and has left is none."""
    loaded = after(listed(), LoadBegun(V, NOW), Loaded(V, is_ok=True, at_seconds=NOW + 1))
    lost = after(listed(loaded_model(F), at=NOW + 2), state=loaded)
    assert [(model.is_load_unseen, model.is_unlistable) for model in lost.models] == [(False, True), (False, False)]
    assert notes(lost, POLICY)[0] == Anomaly(AnomalyKind.UNLISTED, V)
    assert model_of(after(listed(), state=lost)).is_unlistable
    found = after(listed(loaded_model(V)), state=lost)
    assert not model_of(found).is_unlistable
    assert not model_of(after(listed(), state=found)).is_unlistable
    expired = after(listed(loaded_model(V)), listed(), state=loaded)
    assert (model_of(expired).is_load_unseen, model_of(expired).is_unlistable) == (False, False)
    silent = after(ListFailed(ListError.LATE, NOW + 2), listed(at=NOW + 9), state=loaded)
    assert not model_of(silent).is_unlistable
    turned = after(told(FREE, turn=F), state=lost)
    assert not model_of(turned).is_unlistable
    assert model_of(after(told(FREE, 1), state=lost)).is_unlistable
    failed = after(LoadBegun(V, NOW), Loaded(V, is_ok=False, at_seconds=NOW + 1), listed())
    assert not model_of(failed).is_unlistable


def test_a_model_that_was_asked_to_leave_leaves_with_the_list() -> None:
    """Those before it are not forgotten; the time of each end counts, as its memory comes back after it."""
    both = after(listed(loaded_model(V), loaded_model(F)), UnloadBegun((V,), NOW + 1), UnloadBegun((F, V), NOW + 2))
    assert (both.unloading, model_of(both).unload_began_at_seconds, both.gone_at_seconds) == ((V, F), NOW + 2, -math.inf)
    assert model_of(after(UnloadBegun((V,), NOW)), F).unload_began_at_seconds == -math.inf
    still = after(
        Unloaded((V, F), is_ok=True, at_seconds=NOW + 3), listed(loaded_model(V), loaded_model(F), at=NOW + 3), state=both
    )
    assert (still.unloading, still.gone_at_seconds) == ((V, F), -math.inf)
    one = after(listed(loaded_model(F), at=NOW + 4), state=still)
    assert (one.unloading, one.gone_at_seconds) == ((F,), NOW + 4)
    gone = after(listed(at=NOW + 6), listed(at=NOW + 7), state=one)
    assert (gone.unloading, gone.gone_at_seconds) == ((), NOW + 6)


def test_a_model_that_could_not_be_asked_does_not_leave() -> None:
    state = after(UnloadBegun((V, F), NOW), Unloaded((V,), is_ok=False, at_seconds=NOW + 1))
    assert state.unloading == (F,)
    assert [model.unload_began_at_seconds for model in state.models] == [-math.inf, NOW]


def test_only_an_unload_in_a_hold_is_a_relief() -> None:
    """One for a exclusive_model, or of a wedged model, with slots open, relieves nothing."""
    unload = UnloadBegun((V,), NOW)
    assert after(unload, state=replace(HELD, slots=0)).held == Hold(NOW, has_evicted=True)
    assert after(unload, state=HELD).held == Hold(NOW)
    assert after(unload, state=replace(NEW, slots=0)).held is None


def test_a_phase_is_ours_or_nobodys() -> None:
    assert after(ModelLockChanged(V, NOW)).exclusive_model == V
    assert after(ModelLockChanged(V, NOW), ModelLockChanged(None, NOW)).exclusive_model is None


def test_what_the_workers_were_told() -> None:
    """The times of changes are those of changes: the same told again changes nothing."""
    state = after(told(2, 1, V, at=NOW + 1))
    assert (state.slots, state.slots_changed_at_seconds, state.turn, state.turn_since_seconds) == (2, NOW + 1, V, NOW + 1)
    assert after(told(2, 1, V, at=NOW + 2), state=state) == state
    slots = after(told(1, 1, V, at=NOW + 2), state=state)
    assert (slots.slots_changed_at_seconds, slots.turn_since_seconds) == (NOW + 2, NOW + 1)
    turn = after(told(2, 1, F, at=NOW + 2), state=state)
    assert (turn.slots_changed_at_seconds, turn.turn_since_seconds, turn.turn) == (NOW + 1, NOW + 2, F)
    assert after(told(2, 0, V, at=NOW + 2), state=state) == state
    assert after(DecisionPublished(2, (), V, NOW + 2), state=state) == state


def told_of(*models: LoadedModel, rss: int | None = None, calls: tuple[CallsInFlight, ...] = ()) -> set[tuple[AnomalyKind, str]]:
    host = HostMeasured(rss, 0, 0, None, None, None, NOW)
    found = notes(after(listed(*models), host, working(*calls)), POLICY)
    assert len(found) == len(set(found))
    return {(note.lie, note.model) for note in found}


def test_what_of_the_list_cannot_be_believed() -> None:
    """Each kind by an example, and nothing where all is as it was asked for."""
    vision, feedback = loaded_model(V, 1000 * MIB), loaded_model(F, 2000 * MIB, context=8192)
    assert told_of(vision, feedback, rss=3750 * MIB) == set()
    assert told_of(vision, feedback, rss=3750 * MIB + 1) == {(AnomalyKind.HOLDS_MORE, "")}
    assert told_of(loaded_model(V, 100 * MIB), rss=356 * MIB) == set()
    assert told_of(loaded_model(V, 100 * MIB), rss=356 * MIB + 1) == {(AnomalyKind.HOLDS_MORE, "")}
    assert told_of(rss=9999 * MIB) == set()
    assert told_of(loaded_model("foreign")) == {(AnomalyKind.FOREIGN, "foreign")}
    assert told_of(vision, calls=(CallsInFlight(F, 1, NOW),)) == {(AnomalyKind.MISSING, F)}
    assert told_of(vision, calls=(CallsInFlight(V, 1, NOW),)) == set()
    assert told_of(loaded_model(F, context=4096)) == {(AnomalyKind.CONTEXT, F)}
    assert told_of(loaded_model(V, 100, vram=99)) == {(AnomalyKind.SPILLED, V)}
    assert told_of(loaded_model(V, 100, vram=1)) == {(AnomalyKind.SPILLED, V)}
    assert told_of(loaded_model(V, 100, vram=100)) == set()
    assert told_of(loaded_model(V, digest="same"), loaded_model("also", digest="same")) == {
        (AnomalyKind.ALIAS, V),
        (AnomalyKind.FOREIGN, "also"),
    }
    assert notes(after(working(CallsInFlight(V, 1, NOW))), POLICY) == ()


def test_nothing_is_known_of_a_context_that_was_not_asked_for() -> None:
    state = after(listed(loaded_model(V, context=1)))
    assert notes(state, replace(POLICY, vision_context_tokens=None)) == ()
    assert notes(state, POLICY) == (Anomaly(AnomalyKind.CONTEXT, V),)
