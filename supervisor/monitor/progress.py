"""Progress: since when no submission has moved forward while jobs waited or were in work. Pure decisions from facts.

Progress is a token, a committed page or text, and the end of a job that is completed or whose input is at fault. A lease, a
permit, a renewal, a reconnect and a retry are none, because they repeat without end while no submission moves forward.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from worker.ipc.contract import CallOutcome, ModelCall

EARLY_PART = 0.75  # of the longest step, then the state is degraded
ASLEEP_SECONDS = 3.0  # between two samples, one second apart: this process or the whole host was suspended
RETRY_PAUSE_SECONDS = 60.0  # without work, after which an unanswered model is forgotten: between two retries there may be none
BLINK_SECONDS = 3.0  # without work, which a poll has not yet seen again: a job that was just given back
QUIET_SECONDS = 10.0  # a model is never called silent earlier, unless its calls must end earlier
QUIET_FACTOR = 4.0  # times the slowest of its latest first tokens
KEPT_CALLS = 20
_ANSWERS = {CallOutcome.ANSWERED, CallOutcome.RUNAWAY, CallOutcome.BAD_REQUEST}


@dataclass(frozen=True, slots=True)
class ProgressPolicy:
    """The defaults are for a monitor without settings, as in tests."""

    longest_step_seconds: float = 86.0
    longest_excuse_seconds: float = 300.0  # for which a load or the other model's turn may explain a standstill
    first_token_seconds: Mapping[str, float] = field(default_factory=dict)  # deadline of the first token, by model


@dataclass(frozen=True, slots=True)
class ModelCalls:
    """The calls of this instance to one model."""

    model: str
    oldest_start_seconds: float | None  # of the calls in flight, and of those that failed since the last token
    answered_at_seconds: float  # last token of any call
    slowest_first_token_seconds: float | None  # of the latest answered calls, None before the first
    is_loading: bool = False
    has_suspended: bool = False  # the worker of a call is stopped, so that its silence is not the model's


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """The work of this instance now."""

    now_seconds: float
    advanced_at_seconds: float  # last progress of any worker
    has_work: bool  # a job could be leased or is in work, and the database answers
    is_idle: bool = False  # no job is queued or in work, not even a delayed one
    is_excused: bool = False  # jobs wait for a load or for the other model's turn, which ends by itself
    calls: tuple[ModelCalls, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """The memory from one sample to the next."""

    sampled_at_seconds: float = 0.0
    woke_at_seconds: float = 0.0  # end of the last suspension of this process
    since_seconds: float = 0.0  # no standstill begins earlier: the last sample without work, or the wake-up
    worked_at_seconds: float = 0.0  # last sample with work
    excused_seconds: float = 0.0  # since the last progress
    unanswered: Mapping[str, float] = field(default_factory=dict)  # by model: start of its first call without a token


@dataclass(slots=True)
class ProgressView:
    """The progress as status, /metrics and the log show it: the watch, and what the events of calls have shown.

    Written by the progress watch and by the events of workers.
    """

    policy: ProgressPolicy = field(default_factory=ProgressPolicy)
    watch: Watch = field(default_factory=Watch)
    answered_at_seconds: dict[str, float] = field(default_factory=dict)  # end of the last answered call, by model
    failed_since_seconds: dict[str, float] = field(default_factory=dict)  # end of the first failed call after it
    first_tokens_seconds: dict[str, deque[float]] = field(default_factory=dict)  # of the latest answered calls

    def call_ended(self, model: str, call: ModelCall, now_seconds: float) -> None:
        """A model that rejects a request has answered, too."""
        if call.outcome not in _ANSWERS:
            self.failed_since_seconds.setdefault(model, now_seconds)
            return
        self.answered_at_seconds[model] = now_seconds
        self.failed_since_seconds.pop(model, None)
        if call.first_token_seconds is not None:
            self.first_tokens_seconds.setdefault(model, deque(maxlen=KEPT_CALLS)).append(call.first_token_seconds)

    def slowest_first_token_seconds(self, model: str) -> float | None:
        return max(self.first_tokens_seconds.get(model, ()), default=None)


class Severity(Enum):
    """The values are the states of `status`."""

    EARLY = "degraded"
    LONG = "down"


@dataclass(frozen=True, slots=True)
class Standstill:
    """Nothing moves forward. With a `model`: none of its calls has got a token."""

    severity: Severity
    since_seconds: float
    model: str = ""


def sampled(watch: Watch, facts: WorkFacts, policy: ProgressPolicy) -> Watch:
    """Return the watch after a sample. A suspended process has observed nothing, so it begins anew."""
    now = facts.now_seconds
    if now - watch.sampled_at_seconds > ASLEEP_SECONDS:
        return Watch(now, woke_at_seconds=now, since_seconds=now, worked_at_seconds=now)
    return Watch(
        sampled_at_seconds=now,
        woke_at_seconds=watch.woke_at_seconds,
        since_seconds=watch.since_seconds if _has_work(watch, facts) else now,
        worked_at_seconds=now if facts.has_work else watch.worked_at_seconds,
        excused_seconds=_excused_seconds(watch, facts, policy),
        unanswered=_unanswered(watch, facts),
    )


def standstill(watch: Watch, facts: WorkFacts, policy: ProgressPolicy) -> Standstill | None:
    """Return the standstill at this moment, the most severe first. Without work there is none."""
    begun_at_seconds = _begun_at_seconds(watch, facts)
    stood_seconds = standing_seconds(watch, facts) - watch.excused_seconds
    if stood_seconds > policy.longest_step_seconds:
        return Standstill(Severity.LONG, begun_at_seconds)
    if silent := _silent_model(watch, facts, policy):
        return Standstill(Severity.EARLY, watch.unanswered[silent], silent)
    if stood_seconds > EARLY_PART * policy.longest_step_seconds:
        return Standstill(Severity.EARLY, begun_at_seconds)
    return None


def standing_seconds(watch: Watch, facts: WorkFacts) -> float:
    """Return the time for which work has waited without progress, 0 without work."""
    return max(0.0, facts.now_seconds - _begun_at_seconds(watch, facts)) if _has_work(watch, facts) else 0.0


def silence_limit_seconds(calls: ModelCalls, policy: ProgressPolicy) -> float:
    """Return the time without a token after which the model counts as silent, far before the hard limit of its step."""
    deadline_seconds = policy.first_token_seconds.get(calls.model, policy.longest_step_seconds)
    if calls.slowest_first_token_seconds is None:
        return deadline_seconds
    return min(deadline_seconds, max(QUIET_SECONDS, QUIET_FACTOR * calls.slowest_first_token_seconds))


def _begun_at_seconds(watch: Watch, facts: WorkFacts) -> float:
    return max(watch.since_seconds, facts.advanced_at_seconds)


def _has_work(watch: Watch, facts: WorkFacts) -> bool:
    """Report whether there is work, or was a moment ago. An empty queue is empty at once."""
    return not facts.is_idle and (facts.has_work or facts.now_seconds - watch.worked_at_seconds <= BLINK_SECONDS)


def _excused_seconds(watch: Watch, facts: WorkFacts, policy: ProgressPolicy) -> float:
    """Add up the time that is explained by a load or a turn since the last progress, up to a bound."""
    if not _has_work(watch, facts) or facts.advanced_at_seconds > watch.sampled_at_seconds:
        return 0.0
    passed_seconds = facts.now_seconds - watch.sampled_at_seconds if facts.is_excused else 0.0
    return min(policy.longest_excuse_seconds, watch.excused_seconds + passed_seconds)


def _unanswered(watch: Watch, facts: WorkFacts) -> Mapping[str, float]:
    """Return for each model the start of its first call after its last token. Failed calls do not move it."""
    has_paused = not facts.has_work and facts.now_seconds - watch.worked_at_seconds > RETRY_PAUSE_SECONDS
    if facts.is_idle or has_paused:
        return {}
    since = ((calls.model, _unanswered_since(watch.unanswered.get(calls.model), calls)) for calls in facts.calls)
    return {model: at_seconds for model, at_seconds in since if at_seconds is not None}


def _unanswered_since(before_seconds: float | None, calls: ModelCalls) -> float | None:
    if calls.is_loading or calls.has_suspended:
        return None
    if before_seconds is not None and before_seconds > calls.answered_at_seconds:
        return before_seconds
    if calls.oldest_start_seconds is None:
        return None
    return max(calls.oldest_start_seconds, calls.answered_at_seconds)


def _silent_model(watch: Watch, facts: WorkFacts, policy: ProgressPolicy) -> str | None:
    """Return the model whose calls have been silent for too long, the longest silent one of two."""
    silent = [
        calls.model
        for calls in facts.calls
        if (since := watch.unanswered.get(calls.model)) is not None
        and since >= calls.answered_at_seconds
        and facts.now_seconds - since > silence_limit_seconds(calls, policy)
    ]
    return min(silent, key=lambda model: watch.unanswered[model], default=None)
