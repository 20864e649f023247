"""The invariants of admission, checked at each step of the simulated world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.admission.decision import HoldReason
from supervisor.admission.facts import CallEnded
from supervisor.admission.policy import TakeTurns
from supervisor.admission.turns import must_alternate, turn_seconds
from testkit.simulation.admission.ollama import LEAVES_STEPS, LOAD_STEPS
from testkit.simulation.admission.plan import LOAD_TIMEOUT_STEPS, LYING, TIMEOUT_STEPS, VISION, Fault, Kind
from testkit.simulation.violation import Violation
from worker.ipc.contract import CallOutcome

if TYPE_CHECKING:
    from supervisor.admission.decision import Decision
    from testkit.simulation.admission.world import Job, World

CALLS_OF_A_JOB = 2
CALM_STEPS, STEPS_OF_A_JOB = 200, 20  # within which all jobs must end
PERIOD_STEPS = 5  # between two slots that open
MOST_FAILURES = 5  # in a row, before the breaker opens
RELAPSE_STEPS = 8  # longest wait for a probe
RETURN_STEPS = 3 + RELAPSE_STEPS  # from a return until a closed gate opens: the wait, the probe, and the decision
FAILURES = frozenset({CallOutcome.BUSY, CallOutcome.FAILED, CallOutcome.SILENT})


class Inspector:
    """Checks the invariants. Each check raises Violation."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.trace: list[tuple[int, str]] = []
        self.reasons: set[HoldReason] = set()
        policy = world.policy
        tries = policy.max_hold_seconds + policy.unload_seconds + policy.memory_back_seconds
        loads = 2 * (LOAD_TIMEOUT_STEPS + LOAD_STEPS + LEAVES_STEPS)
        self.stall_bound = tries + loads + 2 * RELAPSE_STEPS + policy.reopen_seconds + TIMEOUT_STEPS
        self._read_at = 0  # last step with a picture in a call, or none that waits for the store
        self._busy_at = 0  # last step with a job in hand, or without a waiting job
        self._turn_at: dict[str, int] = {}  # by model: last step in which it was active, or no job waited for it
        self._is_over = self._is_unknown = False  # as of the last sample
        self._cached_before, self._max_cached = 0, 0
        self._canary_leases = 0
        self._listed_at = 0
        self._died_at = -1
        self._absent: frozenset[str] = frozenset()
        self._slots_changed_at = -1000
        self._failures: dict[str, int] = {}
        self._has_answered: dict[str, bool] = {}  # by model: a probe, since the last failed call
        self._to_ask_alone: dict[str, int] = {}
        self._was_away = False  # the server, as of the last decision
        self._deaths: dict[str, int] = {}  # by model: of calls, in the step `_died_at_step`
        self._died_at_step = -1
        self._well_since = dict.fromkeys(("server", "store", *policy.models), 0)

    @property
    def _is_canary(self) -> bool:
        return HoldReason.CANARY in self.world.decision.reasons

    def trace_event(self, what: str) -> None:
        self.trace.append((self.world.now, what))

    def fault_began(self, fault: Fault) -> None:
        self.trace_event(f"{fault.kind.value}: {fault.model}, {fault.steps} steps")

    def monitor_died(self) -> None:
        """Forget what the monitor knew."""
        self._failures.clear()
        self._to_ask_alone.clear()
        self._died_at = self.world.now
        self._is_over = self._is_unknown = False
        self._listed_at = self.world.monitor_gone_until

    def ended(self, fact: CallEnded) -> None:
        """A refused call to a server that is known to be away says nothing about the model."""
        if self.world.state.is_server_away and fact.call.outcome is CallOutcome.FAILED:
            return
        is_failure = fact.call.outcome in FAILURES
        self._failures[fact.model] = self._failures.get(fact.model, 0) + 1 if is_failure else 0
        if is_failure:
            self._has_answered[fact.model] = False
        self._count_deaths(fact)

    def _count_deaths(self, fact: CallEnded) -> None:
        """Calls that died in one step must end one after another."""
        if self._died_at_step != self.world.now:
            self._deaths, self._died_at_step = {}, self.world.now
        alone = self._to_ask_alone.get(fact.model, 0)
        if fact.call.outcome is CallOutcome.FAILED:
            self._deaths[fact.model] = self._deaths.get(fact.model, 0) + 1
        deaths = self._deaths.get(fact.model, 0)
        self._to_ask_alone[fact.model] = deaths if deaths > 1 and not alone > deaths else max(0, alone - 1)

    def probed(self, model: str, error_class: str) -> None:
        self.trace_event(f"{model}: {error_class or 'answers'}")
        if not error_class:
            self._has_answered[model] = True

    def decided(self, before: Decision, decision: Decision) -> None:
        if (before.slots, before.calls, before.reasons) != (decision.slots, decision.calls, decision.reasons):
            words = ", ".join(reason.name for reason in decision.reasons)
            self.trace_event(f"slots {decision.slots}, calls {dict(decision.calls)} {words}")
        self.reasons.update(decision.reasons)
        if self._was_away and not self.world.state.is_server_away:
            self._failures.clear()  # the first call after its return needs no probe
        self._was_away = self.world.state.is_server_away
        self._note_memory()
        self._check_opening(before.slots, decision.slots)
        if not self._is_canary:
            self._canary_leases = 0

    def _note_memory(self) -> None:
        world, policy = self.world, self.world.policy
        if not world.ollama.has_any(Kind.SILENT_PS, world.now):
            self._listed_at = world.now
            self._absent = frozenset(name for name in policy.models if name not in world.ollama.runners)
        was_over = self._is_over
        observed_bytes = world.ollama.used(world.now) if world.plan.is_observed else 0
        self._is_over = 0 < policy.limit_bytes < max(world.state.reported_bytes, observed_bytes)
        self._is_unknown = bool(policy.limit_bytes) and world.now - self._listed_at > policy.grace_seconds
        if self._is_over and not was_over:
            in_hand = sum(worker.job is not None for worker in world.workers)
            self._cached_before = world.ollama.cached
            self._max_cached = in_hand * CALLS_OF_A_JOB * world.plan.growth

    def _check_opening(self, before: int, now: int) -> None:
        """Check the slots that have a worker."""
        world = self.world
        before, now = min(before, len(world.workers)), min(now, len(world.workers))
        if now == before:
            return
        if now > before + 1:
            raise Violation("3: one slot at a time", f"{now - before} slots opened at once")
        if now > before and world.now - self._slots_changed_at < PERIOD_STEPS:
            raise Violation("3: no oscillation", f"a slot opened {world.now - self._slots_changed_at} steps after a change")
        self._slots_changed_at = world.now

    def leased(self, job: Job) -> None:
        self.trace_event(f"job {job.number} is leased")
        if self.world.state.store.is_closed and job.step == VISION and self.world.now >= self.world.monitor_gone_until:
            raise Violation("10: no picture while the store is away", f"job {job.number} is leased")
        self._busy_at = self.world.now
        if (self._is_over or self._is_unknown) and self.world.now >= self.world.monitor_gone_until:
            what = "over the limit" if self._is_over else "with unknown memory"
            if not self._is_canary:
                raise Violation("1: no lease over the limit", what)
            if self._canary_leases:
                raise Violation("1: no lease over the limit", f"a second canary {what}")
        if self._is_canary:
            self._canary_leases += 1
            self._max_cached += CALLS_OF_A_JOB * self.world.plan.growth

    def called(self, model: str) -> None:
        self.trace_event(f"{model} is called")
        world = self.world
        is_known = world.now >= world.monitor_gone_until and not world.ollama.has_any(Kind.SILENT_PS, world.now)
        if is_known and model in self._absent and not self._is_canary:
            raise Violation("4: ready before work", f"{model} was not in memory")
        self._check_apart(model)
        self._check_failing(model)
        self._check_wedged(model)
        self._check_alone(model)
        if world.state.is_server_away and world.now >= world.monitor_gone_until:
            raise Violation("11: no call to a server that is away", model)

    def _check_apart(self, model: str) -> None:
        world, policy = self.world, self.world.policy
        if not (policy.max_loaded_models == 1 or policy.take_turns is TakeTurns.ALWAYS) or len(policy.models) < 2:
            return
        if any(world.ollama.in_flight(other) for other in policy.models if other != model):
            raise Violation("5: one model at a time", f"{model} is called while the other has calls in flight")
        if world.now >= world.monitor_gone_until and world.foreign_lock() not in {None, model}:
            raise Violation("5: one model at a time", f"{model} is called while another instance holds the other lock")

    def _check_failing(self, model: str) -> None:
        """Calls that were in flight at the fifth failure may still fail. A call needs a probe that was answered since."""
        world = self.world
        is_failing = self._failures.get(model, 0) >= MOST_FAILURES + world.policy.num_parallel
        if not is_failing or world.now < world.monitor_gone_until:
            return
        if world.ollama.in_flight(model):
            raise Violation("6: a failing model gets a probe first", "more than one call")
        if not self._has_answered.get(model, False):
            raise Violation("6: a failing model gets a probe first", "a call without an answered probe")

    def _check_alone(self, model: str) -> None:
        world = self.world
        if self._to_ask_alone.get(model, 0) and world.ollama.in_flight(model) and world.now >= world.monitor_gone_until:
            raise Violation("12: calls that died together are asked alone", model)

    def _check_wedged(self, model: str) -> None:
        world = self.world
        runner = world.ollama.runners.get(model)
        if runner is not None and runner.is_wedged and world.ollama.in_flight(model) and world.now >= world.monitor_gone_until:
            silent = world.now - world.progress.get(model, world.now)
            if silent > TIMEOUT_STEPS:
                raise Violation("7: a wedged model gets no call", f"{silent} steps without a token")

    def preloaded(self, model: str) -> None:
        self.trace_event(f"{model}: load")
        world, ollama = self.world, self.world.ollama
        was_hidden = any(kind is Kind.HIDDEN for kind, _ in ollama.active)  # then the list does not show it
        is_dead_listed = any(runner.is_dead for runner in ollama.runners.values())  # its listed size hides unreleased memory
        is_known = ollama.unloaded_at > self._died_at and not was_hidden and not is_dead_listed
        if is_known and ollama.unloaded_until > world.now:
            raise Violation("5: one model at a time", f"{model} is loaded before the memory of the other is released")
        if world.policy.max_loaded_models != 1:
            return
        for other in world.policy.models:
            if other == model:
                continue
            if ollama.in_flight(other):
                raise Violation("5: one model at a time", f"{model} is loaded while {other} has calls in flight")
            has_waited = world.now - ollama.unload_begun.get(other, world.now) >= world.policy.unload_seconds
            if other in ollama.runners and not has_waited and not was_hidden:
                raise Violation("5: one model at a time", f"{model} is loaded beside {other}")

    def unloaded(self, models: tuple[str, ...]) -> None:
        self.trace_event(f"{', '.join(models)}: unload")
        for model in models:
            if self.world.ollama.in_flight(model):
                raise Violation("8: only idle models are unloaded", model)

    def check(self) -> None:
        self._check_memory()
        self._check_stall()
        self._check_starvation()
        self._check_returns()
        self._check_readable_pictures()
        if self.world.now > self.world.plan.ends_at + CALM_STEPS + STEPS_OF_A_JOB * len(self.world.plan.jobs):
            raise Violation("9: every job ends", f"{len(self.world.queue)} jobs are left")

    def _check_memory(self) -> None:
        if self._is_over:
            cached = self.world.ollama.cached - self._cached_before
            if cached > self._max_cached:
                raise Violation("1: a job's worth over the limit", f"{cached - self._max_cached} bytes more")

    def _check_stall(self) -> None:
        world = self.world
        is_away = world.ollama.is_away(world.now) or world.ollama.has_any(Kind.STORE_AWAY, world.now)
        open_models = {model.name for model in world.state.models if model.breaker.is_open}  # invariant 13 bounds these
        is_held = is_away or {world.model_of(job) for job in world.visible()} <= open_models
        is_excused = world.now < world.monitor_gone_until + 1 or world.foreign_lock() is not None or is_held
        if is_excused or any(worker.job for worker in world.workers) or not world.visible():
            self._busy_at = world.now
        elif world.now - self._busy_at > self.stall_bound:
            raise Violation("2: no stall", f"jobs wait for {world.now - self._busy_at} steps")

    def _check_returns(self) -> None:
        """Check that the monitor finds out in time that the server, the store or a model is back."""
        world, state = self.world, self.world.state
        if world.now < world.monitor_gone_until + 1:
            self._well_since = dict.fromkeys(self._well_since, world.now)
        is_back = {
            "server": not world.ollama.is_away(world.now) and not world.ollama.has_any(Kind.SILENT_PS, world.now),
            "store": not world.ollama.has_any(Kind.STORE_AWAY, world.now),
            **{model: self._is_well(model) for model in world.policy.models},
        }
        is_held = {
            "server": state.is_server_away,
            "store": state.store.is_closed,
            **{model.name: model.breaker.is_open for model in state.models},
        }
        for name, since in self._well_since.items():
            if not is_back[name] or not is_held[name]:
                self._well_since[name] = world.now
            elif world.now - since > RETURN_STEPS:
                raise Violation("13: a return is found", f"{name} is back for {world.now - since} steps")

    def _check_readable_pictures(self) -> None:
        """A file that only its own job cannot read does not keep others from being read."""
        world = self.world
        is_held_by_store_alone = set(world.decision.reasons) <= {HoldReason.STORE, HoldReason.RETURNING}
        readable = [job for job in world.visible() if job.step == VISION and job.number % LYING != 0]
        is_in_work = any(worker.call and worker.job and worker.job.step == VISION for worker in world.workers)
        is_lying = world.ollama.has_any(Kind.STORE_LIES, world.now)
        is_other = any(world.ollama.has_any(kind, world.now) for kind in (Kind.STORE_AWAY, Kind.FILES_GONE))
        if is_in_work or not readable or not is_lying or is_other or not is_held_by_store_alone:
            self._read_at = world.now
        elif world.now - self._read_at > RETURN_STEPS + LYING * len(world.plan.jobs):
            raise Violation("14: one job's file holds up no other", f"{len(readable)} wait for {world.now - self._read_at} steps")

    def _is_well(self, model: str) -> bool:
        """The model could answer a probe, and this instance may send one."""
        world, state = self.world, self.world.state
        kinds = (Kind.BUSY, Kind.ERRORS, Kind.WEDGE, Kind.LOAD_FAILS, Kind.SLOW_LOAD, Kind.STUCK, Kind.HIDDEN)
        runner = world.ollama.runners.get(model)
        is_there = runner is not None and not runner.is_wedged and model not in world.ollama.unload_begun
        is_troubled = any(world.ollama.has(kind, model, world.now) for kind in kinds) or world.ollama.is_away(world.now)
        is_its_turn = not must_alternate(state, world.policy) or model == state.active == state.locked_model
        return is_there and not is_troubled and is_its_turn and state.slots > 0

    def _check_starvation(self) -> None:
        """With turns, a job waits at most for the rest of one turn and one whole turn."""
        world, active = self.world, self.world.state.active
        is_free = active is None or world.now < world.monitor_gone_until + 1 or not must_alternate(world.state, world.policy)
        waiting = set() if is_free else {world.model_of(job) for job in world.visible()}
        for model in world.policy.models:
            if model not in waiting or model == active:
                self._turn_at[model] = world.now
            elif world.now - self._turn_at.get(model, world.now) > 2 * turn_seconds(world.state, world.policy) + 2:
                raise Violation("5: neither model starves", f"{model} waits for {world.now - self._turn_at[model]} steps")
