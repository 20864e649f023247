"""A simulated Ollama: runners, memory outside the list, loads, evictions, and their faults."""

from dataclasses import dataclass

from supervisor.admission.breaker import PROBE_SILENT
from supervisor.admission.facts import LoadedModel
from testkit.simulation.admission.plan import FEEDBACK, LOAD_TIMEOUT_STEPS, SIZES, TIMEOUT_STEPS, UNIT_BYTES, VISION, Kind, Plan
from worker.ipc.contract import CallOutcome

FOREIGN = "foreign"
FOREIGN_BYTES = 40 * UNIT_BYTES
LEAVES_STEPS = 2  # from a model's end in the list to the end of its process
LOAD_STEPS = 2
DIGEST = {VISION: "1", FEEDBACK: "2", FOREIGN: "3"}
_PROBE_ERRORS = {
    CallOutcome.ANSWERED: "",
    CallOutcome.BUSY: "Unavailable",
    CallOutcome.FAILED: "ServerError",
    CallOutcome.SILENT: PROBE_SILENT,
}


@dataclass(slots=True)
class Runner:
    cached: int = 0  # prompt cache
    is_dead: bool = False
    is_wedged: bool = False


@dataclass(slots=True)
class Call:
    model: str
    began_at: int
    ends_at: int
    outcome: CallOutcome


@dataclass(slots=True)
class Load:
    model: str
    ends_at: int
    is_ok: bool


@dataclass(slots=True)
class ProbeInFlight:
    model: str
    ends_at: int
    error_class: str


class Ollama:
    """`active`: last step of each fault, by its kind and model."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.runners: dict[str, Runner] = {}
        self.calls: list[Call] = []
        self.loads: list[Load] = []
        self.probes: list[ProbeInFlight] = []
        self.unload_begun: dict[str, int] = {}  # by model: step of the request
        self.active: dict[tuple[Kind, str], int] = {}
        self.cached = 0  # by all calls so far
        self.exiting: list[tuple[int, int]] = []  # last step and bytes of each ending process
        self.unloaded_at, self.unloaded_until = 0, 0  # of the last model that was unloaded

    def has(self, kind: Kind, model: str, now: int) -> bool:
        return self.active.get((kind, model), 0) > now

    def has_any(self, kind: Kind, now: int) -> bool:
        return self.has(kind, VISION, now) or self.has(kind, FEEDBACK, now)

    def in_flight(self, model: str) -> int:
        return sum(call.model == model for call in self.calls)

    def held(self, model: str) -> int:
        """Return the actual bytes of its process."""
        return SIZES[model] + self.runners[model].cached + (self.plan.projector if model == VISION else 0)

    def used(self, now: int) -> int:
        """Return the actual bytes of all processes."""
        living = sum(self.held(model) for model, runner in self.runners.items() if not runner.is_dead)
        return living + sum(size for until, size in self.exiting if until > now) + self.foreign_bytes(now)

    def foreign_bytes(self, now: int) -> int:
        """Return the bytes of other services."""
        flap = self.plan.policy.limit_bytes // 2 if self.has_any(Kind.FLAP, now) and now % 4 < 2 else 0
        return flap + (FOREIGN_BYTES if self.has_any(Kind.FOREIGN, now) else 0)

    def listed(self, now: int) -> tuple[LoadedModel, ...]:
        part = 3 if self.has_any(Kind.UNDERSTATED, now) else 1
        ours = [name for name in self.runners if not self.has(Kind.HIDDEN, name, now)]
        names = [*ours, *([FOREIGN] if self.has_any(Kind.FOREIGN, now) else [])]
        return tuple(LoadedModel(name, DIGEST[name], SIZES.get(name, FOREIGN_BYTES) // part, 0, 4096) for name in names)

    def is_away(self, now: int) -> bool:
        return self.has_any(Kind.SERVER_AWAY, now)

    def call(self, model: str, now: int, steps: int) -> Call:
        """Begin a call of a worker."""
        call = self._begun(model, now, steps, self.plan.growth)
        self.calls.append(call)
        return call

    def probe(self, model: str, now: int, timeout_steps: int) -> None:
        """Begin a probe of the monitor. It needs one step, and adds a few tokens only."""
        begun = self._begun(model, now, 1, growth=0)
        is_in_time = begun.outcome is CallOutcome.ANSWERED or begun.ends_at <= now + timeout_steps
        ends_at = begun.ends_at if is_in_time else now + timeout_steps
        self.probes.append(ProbeInFlight(model, ends_at, _PROBE_ERRORS[begun.outcome]))

    def _begun(self, model: str, now: int, steps: int, growth: int) -> Call:
        runner = self.runners.get(model)
        if self.is_away(now):
            return Call(model, now, now + 1, CallOutcome.FAILED)
        if self.has(Kind.BUSY, model, now):
            return Call(model, now, now + 1, CallOutcome.BUSY)
        if self.has(Kind.ERRORS, model, now) or (runner is None and self.has(Kind.LOAD_FAILS, model, now)):
            return Call(model, now, now + 1, CallOutcome.FAILED)
        if runner is not None and runner.is_wedged:
            return Call(model, now, now + TIMEOUT_STEPS, CallOutcome.SILENT)
        return self._answered(model, now, steps, growth)

    def _answered(self, model: str, now: int, steps: int, growth: int) -> Call:
        """Load a missing or dead runner first, so that the call lasts longer."""
        runner = self.runners.get(model)
        if runner is None or runner.is_dead:
            steps += LOAD_STEPS
            runner = self._start(model, now)
        runner.cached += growth
        self.cached += growth
        return Call(model, now, now + steps, CallOutcome.ANSWERED)

    def preload(self, model: str, now: int) -> None:
        is_ok = not self.has(Kind.LOAD_FAILS, model, now) and not self.is_away(now)
        steps = LOAD_STEPS if is_ok else 1
        if self.has(Kind.SLOW_LOAD, model, now):
            is_ok, steps = False, LOAD_TIMEOUT_STEPS
        self.loads.append(Load(model, now + steps, is_ok))

    def unload(self, model: str, now: int) -> None:
        if model in self.runners:
            self.unload_begun[model] = now

    def crash(self, model: str) -> None:
        """End its calls. The list still contains it."""
        if model in self.runners:
            self.runners[model].is_dead = True
            self._end_calls(model, CallOutcome.FAILED)

    def go_away(self, now: int) -> None:
        """End the server with all its runners, loads and calls."""
        for model in list(self.runners):
            self._end(model, now)
        for load in self.loads:
            load.ends_at, load.is_ok = now, False
        for probe in self.probes:
            probe.ends_at, probe.error_class = now, "ServerUnreachable"

    def wedge(self, model: str, now: int) -> None:
        if model in self.runners:
            self.runners[model].is_wedged = True
            for call in self.calls:
                if call.model == model:
                    call.ends_at, call.outcome = max(call.began_at + TIMEOUT_STEPS, now), CallOutcome.SILENT

    def expire(self, model: str, now: int) -> None:
        if not self.in_flight(model):
            self._end(model, now)

    def step(self, now: int) -> list[Load]:
        """Return the loads that ended."""
        for model in sorted(self.unload_begun):
            if not self.in_flight(model) and not self.has(Kind.STUCK, model, now):
                self._end(model, now)
        ended = [load for load in self.loads if load.ends_at <= now]
        self.loads = [load for load in self.loads if load.ends_at > now]
        for load in ended:
            if load.is_ok:
                self._start(load.model, now)
        return ended

    def _start(self, model: str, now: int) -> Runner:
        if self.plan.policy.max_loaded_models == 1:
            for other in [name for name in self.runners if name != model]:
                self._end(other, now)
        self.runners[model] = Runner()
        self.unload_begun.pop(model, None)
        return self.runners[model]

    def _end(self, model: str, now: int) -> None:
        unloaded_at = self.unload_begun.pop(model, None)
        if model in self.runners:
            if unloaded_at is not None:
                self.unloaded_at, self.unloaded_until = unloaded_at, now + LEAVES_STEPS
            self.exiting.append((now + LEAVES_STEPS, self.held(model)))
            del self.runners[model]
            self._end_calls(model, CallOutcome.FAILED)

    def _end_calls(self, model: str, outcome: CallOutcome) -> None:
        for call in self.calls:
            if call.model == model:
                call.ends_at, call.outcome = 0, outcome
