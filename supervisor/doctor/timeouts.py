"""Estimates from measured speeds: the time of an ordinary answer, and the timeout that it needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.doctor.probe import Outcome, Probe, ProbeKind
from supervisor.findings import Level
from worker.ipc.contract import Step
from worker.ollama.deadline import FIRST_TOKEN_SHARE
from worker.ollama.thinking import thinking
from worker.settings import WorkerSettings

PAGE_TOKENS = 1000  # a densely written page
DOCUMENT_TOKENS = 700  # five criteria with two or three sentences of some forty tokens each, and the feedback
THOUGHT_SHARE = 1 / 4  # of the tokens that a thinking model may use for thoughts: an order of magnitude
RESERVE = 1.5  # for a longer text or a busier machine
LONGEST_SECONDS = 300  # upper bound of AI_TIMEOUT_VISION and AI_TIMEOUT_FEEDBACK
LEAST_TOKENS = 4  # a shorter answer gives no speed
ROUNDING_SECONDS = 5


@dataclass(frozen=True, slots=True)
class TimeoutEstimate:
    """Of one step: `prompt_seconds` to read prompt and picture, then `answer_tokens` at `tokens_per_second`."""

    step: Step
    timeout_seconds: int
    prompt_tokens: int
    prompt_seconds: float
    tokens_per_second: float
    answer_tokens: int

    @property
    def window_tokens(self) -> int:
        """Smallest context window that holds the prompt and an ordinary answer."""
        return self.prompt_tokens + self.answer_tokens

    @property
    def needed_seconds(self) -> float:
        """Long enough that the prompt also fits into the first token's share (worker.ollama.deadline)."""
        return max(self.prompt_seconds + self.answer_tokens / self.tokens_per_second, self.prompt_seconds / FIRST_TOKEN_SHARE)

    @property
    def sufficient_seconds(self) -> int | None:
        """The timeout to set: with reserve within the upper bound, a multiple of five seconds. None: no timeout is enough."""
        if self.needed_seconds > LONGEST_SECONDS:
            return None
        return min(LONGEST_SECONDS, math.ceil(self.needed_seconds * RESERVE / ROUNDING_SECONDS) * ROUNDING_SECONDS)

    @property
    def level(self) -> Level:
        """FAILED if an ordinary answer takes longer than the timeout, WARNING if there is no reserve."""
        if self.needed_seconds > self.timeout_seconds:
            return Level.FAILED
        return Level.OK if self.needed_seconds * RESERVE <= self.timeout_seconds else Level.WARNING


def estimate(step: Step, model: str, probes: Sequence[Probe], settings: WorkerSettings) -> TimeoutEstimate | None:
    """None if the answers were too short for a speed."""
    good = [probe for probe in probes if probe.outcome is Outcome.GOOD]
    job = next((probe for probe in good if probe.kind in (ProbeKind.PICTURE, ProbeKind.FEEDBACK)), None)
    tokens, seconds = sum(probe.tokens for probe in good), sum(probe.tokens_seconds for probe in good)
    if job is None or tokens < LEAST_TOKENS or seconds <= 0:
        return None
    timeout_seconds = settings.ai_timeout_vision if step is Step.VISION else settings.ai_timeout_feedback
    answer_tokens = _answer_tokens(step, model, settings)
    return TimeoutEstimate(step, timeout_seconds, job.prompt_tokens, job.prompt_seconds, tokens / seconds, answer_tokens)


def _answer_tokens(step: Step, model: str, settings: WorkerSettings) -> int:
    if step is Step.VISION:
        return PAGE_TOKENS
    return DOCUMENT_TOKENS + round(thinking(model, settings.ai_think_level).tokens * THOUGHT_SHARE)
