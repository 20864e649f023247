"""The longest duration of each step, and the length of a lease that covers it."""

from worker.settings import WorkerSettings

STATEMENT_DEADLINE_SECONDS = 20.0  # twice the statement timeout
READ_DEADLINE_SECONDS = 30.0  # the model's digest (5 s), the file (8 s of download) and the decoder's first picture
FOREIGN_FETCH_SECONDS = 15.0  # for an adapter that reads all pages in one call: its time beside the model's requests
RENDER_SECONDS = 13.0  # a picture decoded again with shorter sides, and looked at for ink
LEASE_MARGIN_SECONDS = 10.0  # required by the queue contract beyond a step's hard limit and the grace period
DEADLINE_SLACK_SECONDS = 8.0  # the adapter's own deadline ends first. Less than the margin: the kill precedes a takeover


def page_limit_seconds(settings: WorkerSettings) -> float:
    """Hard limit of the call for one page. AI_TIMEOUT_VISION limits one request."""
    return RENDER_SECONDS + settings.ai_timeout_vision


def next_page_limit_seconds(settings: WorkerSettings) -> float:
    """Limit of reading the next page and of its call. A page that is read more slowly costs one more renewal."""
    return RENDER_SECONDS + page_limit_seconds(settings)


def feedback_limit_seconds(settings: WorkerSettings) -> float:
    """Hard limit of the feedback step. AI_TIMEOUT_FEEDBACK covers both tries of our adapter."""
    return float(settings.ai_foreign_timeout_seconds if settings.is_foreign("feedback") else settings.ai_timeout_feedback)


def reading_limit_seconds(pages: int, settings: WorkerSettings) -> float:
    """Hard limit of a call in which an adapter reads all pages."""
    return max(FOREIGN_FETCH_SECONDS + pages * page_limit_seconds(settings), settings.ai_foreign_timeout_seconds)


def lease_seconds_for(hard_limit_seconds: float, settings: WorkerSettings) -> float:
    """The queue contract's formula: a worker that hangs in the step is killed before another worker may take the job."""
    return max(settings.worker_lease_seconds, covering_seconds(hard_limit_seconds, settings))


def covering_seconds(hard_limit_seconds: float, settings: WorkerSettings) -> float:
    """The rest of a lease that still covers a step with this hard limit."""
    return hard_limit_seconds + settings.terminate_grace_seconds + LEASE_MARGIN_SECONDS


def first_lease_seconds(settings: WorkerSettings) -> float:
    """Covers reading the submission's row and its file, until the first model step renews the lease."""
    return lease_seconds_for(STATEMENT_DEADLINE_SECONDS + READ_DEADLINE_SECONDS, settings)


def longest_step_seconds(settings: WorkerSettings) -> float:
    """Longest time in which a worker shows no progress and no deadline of it is exceeded, with the grace period after it.

    It reads a file and then makes the longest call. A foreign adapter may read all pages in one call.
    """
    is_foreign = settings.is_foreign("vision")
    vision_seconds = reading_limit_seconds(settings.max_pdf_pages, settings) if is_foreign else page_limit_seconds(settings)
    call_seconds = max(vision_seconds, feedback_limit_seconds(settings)) + DEADLINE_SLACK_SECONDS
    return READ_DEADLINE_SECONDS + call_seconds + settings.terminate_grace_seconds
