"""Compare what a case has written with what it must write. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from testkit.platform.case import Case, Ending, Work
from testkit.platform.entry import text_of, work_of
from testkit.platform.foreign import PERMANENT
from testkit.platform.play import Played

WITHOUT_TEXT: Final = frozenset({Work.VISUAL_DIRECT, Work.DIALOG})
CODES: Final = {Ending.PERMANENT_VISION: "vision_failed", Ending.PERMANENT_FEEDBACK: "feedback_failed"}
ROUND_TRIPS: Final = {  # of a job, at most: those of 2025 are none more than before there were modes
    (Work.TEXT_DIRECT, 2025): 5,
    (Work.OCR_TEXT, 2025): 7,
    (Work.TEXT_DIRECT, 2026): 6,
    (Work.OCR_TEXT, 2026): 8,
    (Work.VISUAL_DIRECT, 2026): 6,
    (Work.DIALOG, 2026): 6,
    (Work.PRACTICE, 2026): 12,
    (Work.PROGRAM, 2026): 8,
}
TWICE: Final = {  # the step whose call is made again, because its answer was no use or was not committed
    Ending.TRANSIENT_VISION: "vision",
    Ending.TRANSIENT_FEEDBACK: "feedback",
    Ending.KILLED_VISION: "vision",
    Ending.KILLED_CHECKPOINT: "vision",
    Ending.KILLED_FEEDBACK: "feedback",
    Ending.KILLED_SETTLING: "feedback",
}
CRASHES: Final = frozenset({Ending.KILLED_VISION, Ending.KILLED_CHECKPOINT, Ending.KILLED_FEEDBACK, Ending.KILLED_SETTLING})


def faults_in(played: Played) -> list[str]:
    """Return the differences from the expectation."""
    if played.case.ending is Ending.LEFT:
        return list(_of_left(played))
    is_failure = played.case.ending in CODES
    own = _of_failed(played) if is_failure else _of_completed(played)
    return [*_of_every(played), *own, *_of_first_worker(played), *played.unreadable]


def is_left(played: Played) -> bool:
    """Report whether the job stands in the queue as if no worker had seen it."""
    return played.job is not None and played.job["status"] == "queued" and played.submission["analysis_status"] == "pending"


def failed_unknown(played: Played) -> bool:
    """Report whether the submission failed with a code that this case does not have."""
    row = played.submission
    return bool(row["analysis_status"] == "failed" and row["error_code"] != code_of(played.case))


def code_of(case: Case) -> str | None:
    """Return the code with which the case fails. Our vision adapter is given a file that is damaged."""
    is_damaged = case.adapter.is_ours and case.ending is Ending.PERMANENT_VISION
    return "input_corrupt" if is_damaged else CODES.get(case.ending)


def _of_left(played: Played) -> Iterator[str]:
    if not is_left(played) or played.job is None:
        yield f"the job is not left queued, the submission is {played.submission['analysis_status']}"
    elif played.job["retry_count"] or {"crashes", "expiries"} & played.job["payload"].keys():
        yield "an attempt, a crash or an expiry was counted"
    if played.calls:
        yield "a model was asked"
    if not played.has_struck:
        yield "no worker has searched the queue"
    if played.attempt not in (None, ("pending", "awaiting_analysis")):
        yield f"attempt and item are {played.attempt}"


def _of_every(played: Played) -> Iterator[str]:
    limit = ROUND_TRIPS.get((played.case.work, played.case.year))
    if limit and played.round_trips and played.round_trips > limit:
        yield f"{played.round_trips} round trips, at most {limit} are needed"
    if not played.has_struck:
        yield "the worker was not killed there"
    if len(played.results) != 1:
        yield f"{len(played.results)} results were written"
    if played.calls != _calls_of(played.case):
        yield f"calls {Counter(played.calls)}, expected {Counter(_calls_of(played.case))}"


def _of_completed(played: Played) -> Iterator[str]:
    row = played.submission
    if row["analysis_status"] != "completed":
        yield f"the submission is {row['analysis_status']} {row['error_code']}"
        return
    if played.job is not None:
        yield "the job is still there"
    if row["text_body"] != _text_of(played.case):
        yield "another text than was handed in or read"
    if played.attempt not in (None, ("completed", "feedback")):
        yield f"attempt and item are {played.attempt}"
    yield from _of_usage(played)


def _of_usage(played: Played) -> Iterator[str]:
    """Judge the recorded answers: those of the result, and not more than there were calls. A killed worker's may be lost."""
    fewest = len(played.case.steps) if played.case.ending is Ending.SUCCESS else 1
    if played.usage is not None and not fewest <= played.usage <= len(played.calls):
        yield f"{played.usage} answers were recorded for {len(played.calls)} calls"


def _of_failed(played: Played) -> Iterator[str]:
    row, code = played.submission, code_of(played.case)
    if (row["analysis_status"], row["error_code"]) != ("failed", code):
        yield f"the submission is {row['analysis_status']} {row['error_code']}, expected failed {code}"
    if played.job is None or (played.job["status"], played.job["error_code"]) != ("failed", code):
        yield "the job is not failed with the same code"
    step = played.case.ending.step
    if not played.case.adapter.is_ours and row[f"{step}_last_error"] != PERMANENT[step]:
        yield f"the reason is {row[f'{step}_last_error']} and not the adapter's code"
    if played.attempt not in (None, ("failed", "active")):
        yield f"attempt and item are {played.attempt}"


def _of_first_worker(played: Played) -> Iterator[str]:
    """Judge the job as the first worker left it: queued again, or at its end."""
    job, ending = played.between, played.case.ending
    if ending in TWICE and (job is None or job["status"] != "queued"):
        yield "the job was not put back"
    elif ending in CRASHES and job and job["payload"].get("crashes") != 1:
        yield f"{job['payload'].get('crashes', 0)} crashes were counted"
    elif ending in {Ending.TRANSIENT_VISION, Ending.TRANSIENT_FEEDBACK} and job and "crashes" in job["payload"]:
        yield "a crash was counted without one"
    elif ending is Ending.KILLED_SETTLED and job:
        yield "the result was not committed"


def _calls_of(case: Case) -> list[str]:
    """Return the calls that the case needs. Ours repeats an unusable answer once, a foreign permanent error is final."""
    calls = [step for step in case.steps for _ in range(2 if TWICE.get(case.ending) == step else 1)]
    if case.ending is Ending.PERMANENT_VISION:
        return [] if case.adapter.is_ours else ["vision"]
    if case.ending is Ending.PERMANENT_FEEDBACK and case.adapter.is_ours:
        return [*calls, "feedback"]
    return calls


def _text_of(case: Case) -> str | None:
    if case.work in WITHOUT_TEXT:
        return None
    return text_of(case) if case.work.is_read else str(work_of(case).content)
