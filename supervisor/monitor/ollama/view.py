"""What admission knows and has decided, for whoever shows it: status, /metrics, the log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from supervisor.admission.anomalies import Anomaly, find_anomalies
from supervisor.admission.decision import Decision
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState
from worker.ipc.contract import HoldReason

# Nobody has to do anything about these: work goes on, in another order or a moment later.
PASSING = frozenset(
    {HoldReason.NONE, HoldReason.REOPENING, HoldReason.RAMPING, HoldReason.LOADING, HoldReason.EXCLUSIVE, HoldReason.TURNS}
)


@dataclass(slots=True)
class AdmissionView:
    """Written by the watch of Ollama alone. As it is here, where no model of Ollama's is asked."""

    policy: AdmissionPolicy = field(default_factory=AdmissionPolicy)
    state: AdmissionState = field(default_factory=lambda: AdmissionState.of(AdmissionPolicy(), 0.0))
    decision: Decision = field(default_factory=Decision)
    is_remote: bool = False  # nobody here sees what its processes hold

    @property
    def is_governed(self) -> bool:
        """Whether there is a model to look after."""
        return bool(self.policy.models)

    @property
    def reason(self) -> HoldReason:
        """The weightiest that somebody should know of; else the first that work waits for."""
        reasons = self.decision.reasons
        told = (*(each for each in reasons if each not in PASSING), *filter(self._is_felt, reasons), self.decision.reason)
        return told[0]

    @property
    def is_holding(self) -> bool:
        """Whether the decision keeps work waiting now, whether or not there is any."""
        return bool(self.decision.reasons) and (self.reason not in PASSING or self._is_felt(self.reason))

    def _is_felt(self, reason: HoldReason) -> bool:
        """Whether jobs wait for a model that it closes; where it closes slots, whether any wait."""
        closed = self.decision.closed.get(reason)
        return any(model.jobs for model in self.state.models if not closed or model.name in closed)

    @property
    def silence(self) -> str | None:
        """Why /api/ps says nothing, while it does not."""
        return self.state.list_failure.why.value if self.state.list_failure else None

    def trouble(self, now_seconds: float) -> str:
        """The sentence of the status, where somebody should know; empty where all is well or a matter of moments."""
        if self.is_holding and self.reason not in PASSING:
            away = f" (Ollama does not answer: {self.silence})" if self.silence and self.reason is not HoldReason.UNKNOWN else ""
            return f"Held back: {self.worded()}{away}."
        silence = self.state.list_failure
        if silence is not None and now_seconds > silence.at_seconds + self.policy.grace_seconds:
            return f"Ollama does not say what it has loaded ({silence.why.value}); the work goes on meanwhile."
        return ""

    def notes(self) -> tuple[Anomaly, ...]:
        return find_anomalies(self.state, self.policy) if self.is_governed else ()

    def worded(self) -> str:
        """Why work is held back, in words and numbers. Names of models are the operator's own."""
        return _WORDS[self.reason](self)

    def closed(self) -> str:
        """The models that are not asked, or less than they could be, for this reason."""
        return ", ".join(self.decision.closed.get(self.reason, ()))


def gigabytes(size_bytes: int) -> str:
    """As `ollama ps` counts them: powers of ten."""
    return f"{size_bytes / 1e9:.1f}"


def _memory(sight: AdmissionView) -> str:
    used, limit = gigabytes(sight.state.used_bytes), gigabytes(sight.policy.limit_bytes)
    low = gigabytes(sight.policy.low_water_bytes)
    return f"Ollama uses {used} of {limit} GB; jobs in work go on, new ones are taken below {low} GB"


def _unknown(sight: AdmissionView) -> str:
    return f"Ollama does not tell what it uses ({sight.silence or 'not asked yet'}), and there is a limit"


_WORDS: Mapping[HoldReason, Callable[[AdmissionView], str]] = {
    HoldReason.NONE: lambda _: "",
    HoldReason.MEMORY: _memory,
    HoldReason.REOPENING: lambda sight: f"after a hold one worker after another begins, now {sight.decision.slots}",
    HoldReason.EVICTION: lambda _: "held for the longest time allowed, so idle models are unloaded",
    HoldReason.CANARY: lambda _: "held for the longest time allowed, so one job shows whether more may run",
    HoldReason.UNKNOWN: _unknown,
    HoldReason.BREAKER: lambda sight: f"{sight.closed()} failed several times in a row and is asked again in a moment",
    HoldReason.PROBING: lambda sight: f"{sight.closed()} failed several times in a row; one call shows whether it answers again",
    HoldReason.WEDGED: lambda sight: f"no call to {sight.closed()} gets on, though Ollama lists it",
    HoldReason.RAMPING: lambda sight: f"{sight.closed()} answers again and is asked more and more",
    HoldReason.LOADING: lambda sight: f"{sight.closed()} is not loaded yet",
    HoldReason.UNLOADABLE: lambda sight: (
        f"{sight.closed()} could not be loaded; it is tried again now and then, `doctor` says why"
    ),
    HoldReason.EXCLUSIVE: lambda sight: f"{sight.closed()} waits for its phase, as the two models do not fit together",
    HoldReason.TURNS: lambda sight: f"{sight.closed()} waits for its turn, as the two models compute on the same cores",
}
