"""What a measured speed makes of a timeout: how long an ordinary answer takes, and the timeout that would do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from supervisor.doctor.model import Role
from supervisor.doctor.probe import Outcome, Probe, ProbeKind
from worker.ollama.deadline import FIRST_TOKEN_SHARE
from worker.ollama.thinking import thinking
from worker.settings import WorkerSettings

PAGE_TOKENS = 1000  # a densely written page
DOCUMENT_TOKENS = 700  # five criteria with two or three sentences of some forty tokens each, and the feedback
THOUGHT_SHARE = 1 / 4  # of the tokens that a thinking model is allowed for it: an order of magnitude
RESERVE = 1.5  # a longer text, a busier machine
LONGEST_SECONDS = 300  # what AI_TIMEOUT_VISION and AI_TIMEOUT_FEEDBACK may be at most
LEAST_TOKENS = 4  # of an answer, or its speed says nothing
STEP_SECONDS = 5


class Margin(Enum):
    """Whether an ordinary answer comes before the timeout."""

    YES = "yes"
    BARELY = "barely"
    NO = "no"


@dataclass(frozen=True, slots=True)
class TimeoutEstimate:
    """Of one role. `prompt_seconds` for reading prompt and picture, then `answer_tokens` at `tokens_per_second`."""

    role: Role
    timeout_seconds: int
    prompt_tokens: int
    prompt_seconds: float
    tokens_per_second: float
    answer_tokens: int

    @property
    def window_tokens(self) -> int:
        """What the model's context must hold at least: what it reads, and an ordinary answer."""
        return self.prompt_tokens + self.answer_tokens

    @property
    def needed_seconds(self) -> float:
        """Not below what the share for the first token asks of the whole (worker.ollama.deadline)."""
        return max(self.prompt_seconds + self.answer_tokens / self.tokens_per_second, self.prompt_seconds / FIRST_TOKEN_SHARE)

    @property
    def sufficient_seconds(self) -> int | None:
        """A timeout with a reserve, in steps of five seconds; without all of it where there is no room; None: no timeout does."""
        if self.needed_seconds > LONGEST_SECONDS:
            return None
        return min(LONGEST_SECONDS, math.ceil(self.needed_seconds * RESERVE / STEP_SECONDS) * STEP_SECONDS)

    @property
    def kept(self) -> Margin:
        if self.needed_seconds > self.timeout_seconds:
            return Margin.NO
        return Margin.YES if self.needed_seconds * RESERVE <= self.timeout_seconds else Margin.BARELY


def pace(role: Role, model: str, tried: Sequence[Probe], settings: WorkerSettings) -> TimeoutEstimate | None:
    """None where too little was said to tell a speed."""
    good = [probe for probe in tried if probe.outcome is Outcome.GOOD]
    job = next((probe for probe in good if probe.kind in (ProbeKind.PICTURE, ProbeKind.FEEDBACK)), None)
    tokens, seconds = sum(probe.tokens for probe in good), sum(probe.tokens_seconds for probe in good)
    if job is None or tokens < LEAST_TOKENS or seconds <= 0:
        return None
    return TimeoutEstimate(
        role, _timeout(role, settings), job.prompt_tokens, job.prompt_seconds, tokens / seconds, _answer(role, model, settings)
    )


def _timeout(role: Role, settings: WorkerSettings) -> int:
    return settings.ai_timeout_vision if role is Role.VISION else settings.ai_timeout_feedback


def _answer(role: Role, model: str, settings: WorkerSettings) -> int:
    if role is Role.VISION:
        return PAGE_TOKENS
    return DOCUMENT_TOKENS + round(thinking(model, settings.ai_think_level).tokens * THOUGHT_SHARE)
