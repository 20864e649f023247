"""A simulated Ollama: runners, hidden memory, serial loads, eviction, and what may go wrong with them."""

from dataclasses import dataclass

from supervisor.admission.facts import LoadedModel
from testkit.simulation.admission.plan import FEEDBACK, LOAD_TIMEOUT_STEPS, SIZES, TIMEOUT_STEPS, UNIT_BYTES, VISION, Kind, Plan
from worker.ipc.contract import CallOutcome

FOREIGN = "foreign"
FOREIGN_BYTES = 40 * UNIT_BYTES
LEAVES_STEPS = 2  # from the end in the list to the end of the process
LOAD_STEPS = 2
DIGEST = {VISION: "1", FEEDBACK: "2", FOREIGN: "3"}


@dataclass(slots=True)
class Runner:
    piled: int = 0  # prompt cache
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


class Ollama:
    """`active`: until which step a fault of a kind holds, by its model."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.runners: dict[str, Runner] = {}
        self.calls: list[Call] = []
        self.loads: list[Load] = []
        self.unload_asked: dict[str, int] = {}  # at which step
        self.active: dict[tuple[Kind, str], int] = {}
        self.piled = 0  # by all calls that ever were
        self.dying: list[tuple[int, int]] = []  # until when, and how much
        self.asked_at, self.asked_dying_until = 0, 0  # of the last that left when asked

    def has(self, kind: Kind, model: str, now: int) -> bool:
        return self.active.get((kind, model), 0) > now

    def has_any(self, kind: Kind, now: int) -> bool:
        return self.has(kind, VISION, now) or self.has(kind, FEEDBACK, now)

    def in_flight(self, model: str) -> int:
        return sum(call.model == model for call in self.calls)

    def held(self, model: str) -> int:
        """What its process really holds."""
        return SIZES[model] + self.runners[model].piled + (self.plan.projector if model == VISION else 0)

    def used(self, now: int) -> int:
        """In truth, of all processes."""
        living = sum(self.held(model) for model, runner in self.runners.items() if not runner.is_dead)
        return living + sum(size for until, size in self.dying if until > now) + self.alien(now)

    def alien(self, now: int) -> int:
        """What is not our doing."""
        flap = self.plan.policy.limit_bytes // 2 if self.has_any(Kind.FLAP, now) and now % 4 < 2 else 0
        return flap + (FOREIGN_BYTES if self.has_any(Kind.FOREIGN, now) else 0)

    def listed(self, now: int) -> tuple[LoadedModel, ...]:
        part = 3 if self.has_any(Kind.UNDERSTATED, now) else 1
        ours = [name for name in self.runners if not self.has(Kind.HIDDEN, name, now)]
        names = [*ours, *([FOREIGN] if self.has_any(Kind.FOREIGN, now) else [])]
        return tuple(LoadedModel(name, DIGEST[name], SIZES.get(name, FOREIGN_BYTES) // part, 0, 4096) for name in names)

    def call(self, model: str, now: int, steps: int) -> Call:
        """A request of a worker's."""
        runner = self.runners.get(model)
        if self.has(Kind.BUSY, model, now):
            call = Call(model, now, now + 1, CallOutcome.BUSY)
        elif self.has(Kind.ERRORS, model, now) or (runner is None and self.has(Kind.LOAD_FAILS, model, now)):
            call = Call(model, now, now + 1, CallOutcome.FAILED)
        elif runner is not None and runner.is_wedged:
            call = Call(model, now, now + TIMEOUT_STEPS, CallOutcome.SILENT)
        else:
            call = self._answered(model, now, steps)
        self.calls.append(call)
        return call

    def _answered(self, model: str, now: int, steps: int) -> Call:
        """A runner that is not there, or dead, is loaded first: the call pays for it."""
        runner = self.runners.get(model)
        if runner is None or runner.is_dead:
            steps += LOAD_STEPS
            runner = self._start(model, now)
        runner.piled += self.plan.growth
        self.piled += self.plan.growth
        return Call(model, now, now + steps, CallOutcome.ANSWERED)

    def preload(self, model: str, now: int) -> None:
        is_ok = not self.has(Kind.LOAD_FAILS, model, now)
        steps = LOAD_STEPS if is_ok else 1
        if self.has(Kind.SLOW_LOAD, model, now):
            is_ok, steps = False, LOAD_TIMEOUT_STEPS
        self.loads.append(Load(model, now + steps, is_ok))

    def unload(self, model: str, now: int) -> None:
        if model in self.runners:
            self.unload_asked[model] = now

    def crash(self, model: str) -> None:
        """Its calls break; the list goes on naming it."""
        if model in self.runners:
            self.runners[model].is_dead = True
            self._end_calls(model, CallOutcome.FAILED)

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
        """The loads that have ended."""
        for model in sorted(self.unload_asked):
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
        self.unload_asked.pop(model, None)
        return self.runners[model]

    def _end(self, model: str, now: int) -> None:
        asked_at = self.unload_asked.pop(model, None)
        if model in self.runners:
            if asked_at is not None:
                self.asked_at, self.asked_dying_until = asked_at, now + LEAVES_STEPS
            self.dying.append((now + LEAVES_STEPS, self.held(model)))
            del self.runners[model]
            self._end_calls(model, CallOutcome.FAILED)

    def _end_calls(self, model: str, outcome: CallOutcome) -> None:
        for call in self.calls:
            if call.model == model:
                call.ends_at, call.outcome = 0, outcome
