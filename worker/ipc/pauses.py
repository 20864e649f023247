"""Pauses of a step, for which the provider of a foreign adapter asks one worker. All workers of the instance keep them."""

from worker.ipc.contract import Step
from worker.ipc.scoreboard import MAX_SLOTS, Scoreboard

MAX_PAUSE_SECONDS = 60.0  # ends a longer one that a provider names


def paused_until_seconds(scoreboard: Scoreboard, step: Step, now_seconds: float) -> float:
    """Return the end of the step's pause (monotonic), 0 without one. A worker's record is a claim, so no longer pause counts."""
    claims = filter(None, map(scoreboard.worker, range(MAX_SLOTS)))
    ends = (claim.vision_paused_until_seconds if step is Step.VISION else claim.feedback_paused_until_seconds for claim in claims)
    return max((end for end in ends if now_seconds < end <= now_seconds + MAX_PAUSE_SECONDS), default=0.0)
