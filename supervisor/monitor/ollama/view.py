"""The state of admission as status, /metrics and the log show it: the decision, and the most important reason in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from supervisor.admission.anomalies import Anomaly, find_anomalies
from supervisor.admission.decision import Decision, HoldReason
from supervisor.admission.facts import ListError
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState
from supervisor.monitor.store.words import in_words
from supervisor.wording import byte_size, since


class Severity(IntEnum):
    """Importance of a reason for which work is held back."""

    UNNOTICED = 0  # ends by itself, and no queued job waits for it
    PASSING = 1  # ends by itself, and queued jobs wait for it
    ATTENTION = 2  # an administrator should know


ATTENTION_REASONS = frozenset(
    {
        HoldReason.MEMORY,
        HoldReason.EVICTION,
        HoldReason.CANARY,
        HoldReason.UNKNOWN,
        HoldReason.SERVER,
        HoldReason.STORE,
        HoldReason.BREAKER,
        HoldReason.WEDGED,
        HoldReason.UNLOADABLE,
    }
)


@dataclass(slots=True)
class AdmissionView:
    """Written by the admission controller alone. The defaults are those of an instance that asks no model of Ollama."""

    policy: AdmissionPolicy = field(default_factory=AdmissionPolicy)
    state: AdmissionState = field(default_factory=lambda: AdmissionState.of(AdmissionPolicy(), 0.0))
    decision: Decision = field(default_factory=Decision)
    is_remote: bool = False  # Ollama's processes cannot be measured on this host

    @property
    def is_governed(self) -> bool:
        """True if this instance asks at least one model of Ollama."""
        return bool(self.policy.models)

    @property
    def reason(self) -> HoldReason:
        """The most severe reason, the first of several that are equally severe."""
        return max(self.decision.reasons, key=self.severity, default=HoldReason.NONE)

    @property
    def is_holding(self) -> bool:
        """True if an administrator should know of the hold, or queued jobs wait for it."""
        return any(self.severity(reason) > Severity.UNNOTICED for reason in self.decision.reasons)

    @property
    def needs_attention(self) -> bool:
        return self.severity(self.reason) is Severity.ATTENTION

    def severity(self, reason: HoldReason) -> Severity:
        if reason in ATTENTION_REASONS:
            return Severity.ATTENTION
        return Severity.PASSING if self.is_blocking(reason) else Severity.UNNOTICED

    def is_blocking(self, reason: HoldReason) -> bool:
        """True if jobs are queued for a model that the reason closes. A reason that closes no model closes slots, so all jobs."""
        closed = self.decision.closed.get(reason)
        return any(model.jobs for model in self.state.models if not closed or model.name in closed)

    @property
    def list_error(self) -> str | None:
        """Why /api/ps gives no list at present."""
        return self.state.list_failure.why.value if self.state.list_failure else None

    def trouble(self, now_seconds: float) -> str:
        """The status message if an administrator should know something, else empty."""
        if self.needs_attention:
            is_extra = self.list_error and self.reason not in {HoldReason.UNKNOWN, HoldReason.SERVER}
            no_answer = f" (Ollama does not answer: {self.list_error})" if is_extra else ""
            return f"Held back: {self.explanation(now_seconds)}{no_answer}. The submissions concerned wait, none is lost."
        failed = self.state.list_failure
        if failed is not None and now_seconds > failed.at_seconds + self.policy.grace_seconds:
            return (
                f"Ollama does not report its loaded models ({failed.why.value}), {since(now_seconds - failed.at_seconds)}. "
                "Work goes on, failed submissions are tried again. Check that Ollama is running."
            )
        return ""

    def anomalies(self) -> tuple[Anomaly, ...]:
        return find_anomalies(self.state, self.policy) if self.is_governed else ()

    def explanation(self, now_seconds: float | None = None) -> str:
        """The most important reason in words and numbers, and since when. Model names come from the settings."""
        text, remedy = _in_two(_EXPLANATIONS[self.reason](self))
        since_seconds = self._since_seconds()
        period = "" if now_seconds is None or since_seconds is None else f", {since(now_seconds - since_seconds)}"
        return f"{text}{period} ({remedy})" if remedy else f"{text}{period}"

    def _since_seconds(self) -> float | None:
        """Begin of the most important reason, if it is known."""
        state = self.state
        match self.reason:
            case HoldReason.SERVER:
                return state.list_failure.at_seconds if state.list_failure else None
            case HoldReason.STORE:
                return state.store.since_seconds
            case HoldReason.BREAKER:
                return min((model.breaker.since_seconds for model in state.models if model.breaker.is_open), default=None)
        return None

    def closed(self) -> str:
        """Models that are closed or limited for the most important reason."""
        return ", ".join(self.decision.closed.get(self.reason, ()))


def _memory(view: AdmissionView) -> str:
    used, limit = byte_size(view.state.used_bytes), byte_size(view.policy.limit_bytes)
    low = byte_size(view.policy.low_water_bytes)
    return f"Ollama uses {used} of {limit}, so running jobs finish and new ones start below {low}"


def _server(view: AdmissionView) -> tuple[str, str]:
    failure = view.state.list_failure
    if failure is not None and failure.why is ListError.UNRESOLVED:
        return (
            "Ollama's host name is not resolved",
            "NameUnresolved: repair the name servers of this host, or correct OLLAMA_BASE_URL",
        )
    return "Ollama cannot be reached", "ServerUnreachable: start it, or correct OLLAMA_BASE_URL"


def _store(view: AdmissionView) -> tuple[str, str]:
    what, remedy = in_words(view.state.store.error_class)
    return f"pictures wait, because {what}", f"{view.state.store.error_class}: {remedy}"


def _breaker(view: AdmissionView) -> tuple[str, str]:
    error_class = next((model.breaker.error_class for model in view.state.models if model.breaker.error_class), "")
    return (
        f"{view.closed()} failed several times in a row, and a tiny request of the monitor tests whether it answers again",
        f"{error_class}: see Ollama's log" if error_class else "see Ollama's log",
    )


def _in_two(explained: str | tuple[str, str]) -> tuple[str, str]:
    return (explained, "") if isinstance(explained, str) else explained


def _unknown(view: AdmissionView) -> str:
    error = view.list_error or "not asked yet"
    return f"Ollama does not report its memory ({error}), which OLLAMA_MEMORY_LIMIT needs (check that Ollama is running)"


_EXPLANATIONS: Mapping[HoldReason, Callable[[AdmissionView], str | tuple[str, str]]] = {
    HoldReason.NONE: lambda _: "",
    HoldReason.MEMORY: _memory,
    HoldReason.REOPENING: lambda view: f"after a hold the workers start again one by one, {view.decision.slots} so far",
    HoldReason.EVICTION: lambda _: "no job could start for ADMISSION_MAX_HOLD_SECONDS, so idle models are unloaded",
    HoldReason.CANARY: lambda _: "no job could start for ADMISSION_MAX_HOLD_SECONDS, so one job tests whether more may run",
    HoldReason.UNKNOWN: _unknown,
    HoldReason.SERVER: _server,
    HoldReason.STORE: _store,
    HoldReason.RETURNING: lambda _: "the store of the files answers again, and one picture tests whether files can be read",
    HoldReason.BREAKER: _breaker,
    HoldReason.ALONE: lambda view: (
        f"calls to {view.closed()} failed together, so each is repeated alone to find the one that ends the model's process"
    ),
    HoldReason.WEDGED: lambda view: f"calls to {view.closed()} make no progress, although it is loaded (see Ollama's log)",
    HoldReason.RAMPING: lambda view: f"{view.closed()} answers again and gets more calls step by step",
    HoldReason.LOADING: lambda view: f"{view.closed()} is not loaded yet",
    HoldReason.UNLOADABLE: lambda view: (
        f"{view.closed()} could not be loaded and is tried again now and then (run check, then doctor, to see why)"
    ),
    HoldReason.EXCLUSIVE: lambda view: f"{view.closed()} waits, because both models do not fit into memory together",
    HoldReason.TURNS: lambda view: f"{view.closed()} waits for its turn, because both models compute on the same cores",
}
