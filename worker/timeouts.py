"""How long each step may take at most, and how long a lease has to be to cover it."""

from worker.settings import WorkerSettings

STATEMENT_DEADLINE_SECONDS = 20.0  # twice the statement timeout
READ_DEADLINE_SECONDS = 30.0  # the model's digest (5 s), the file (8 s of download) and its first look by a decoder
RENDER_SECONDS = 10.0  # the next page, fetched or decoded; where both take all they may (17 s), the slack covers the rest
LEASE_MARGIN_SECONDS = 10.0  # the contract's: beyond a step's hard limit and the grace
DEADLINE_SLACK_SECONDS = 8.0  # the adapter's own deadline comes first; below the margin, so that the kill precedes a takeover


def page_limit_seconds(settings: WorkerSettings) -> float:
    """One page: AI_TIMEOUT_VISION is for one request."""
    return RENDER_SECONDS + settings.ai_timeout_vision


def feedback_limit_seconds(settings: WorkerSettings) -> float:
    """AI_TIMEOUT_FEEDBACK covers both tries."""
    return float(settings.ai_timeout_feedback)


def lease_seconds_for(hard_limit_seconds: float, settings: WorkerSettings) -> float:
    """The contract's formula: nobody else may take the job before a worker that hangs in the step has been killed."""
    return max(settings.worker_lease_seconds, hard_limit_seconds + settings.terminate_grace_seconds + LEASE_MARGIN_SECONDS)


def first_lease_seconds(settings: WorkerSettings) -> float:
    """Until the first step with a model renews it: the submission's row, then its file."""
    return lease_seconds_for(STATEMENT_DEADLINE_SECONDS + READ_DEADLINE_SECONDS, settings)
