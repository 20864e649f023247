"""Rate limits of a foreign adapter's provider, from the workers' records."""

from worker.ipc.contract import Step
from worker.ipc.pauses import paused_until_seconds
from worker.ipc.scoreboard import Scoreboard


def rate_limits(scoreboard: Scoreboard, now_seconds: float) -> dict[Step, float]:
    """Return the seconds that are left of each step's pause."""
    ends = {step: paused_until_seconds(scoreboard, step, now_seconds) for step in Step}
    return {step: end - now_seconds for step, end in ends.items() if end}
