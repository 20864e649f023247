"""The progress of the work as status, /metrics and the log show it: the watch, and what the events of calls have shown."""

from collections import deque
from dataclasses import dataclass, field

from supervisor.monitor.progress import ProgressPolicy, Watch
from worker.ipc.contract import CallOutcome, ModelCall

KEPT_CALLS = 20
_ANSWERS = {CallOutcome.ANSWERED, CallOutcome.RUNAWAY, CallOutcome.BAD_REQUEST}


@dataclass(slots=True)
class ProgressView:
    """Written by the progress watch and by the events of workers."""

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
