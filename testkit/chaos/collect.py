"""Read the record of a run from the audit tables, job_transitions, the simulator and the logs."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, class_row, dict_row

from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.plan import Plan, Work
from testkit.chaos.run_record import (
    InjectedFault,
    JobTransition,
    LogLine,
    Refusal,
    RunRecord,
    SubmissionState,
    VisionCall,
    WrittenResult,
)
from testkit.chaos.submissions import PUPIL, made
from testkit.ollama_simulator.ocr import ocr_text
from testkit.readers import faults_of_results
from testkit.submissions import Submission
from worker.documents.pages import open_document

MAX_PAGES: Final = 20
SUBMISSIONS: Final[LiteralString] = """
    select submission.id, student_sub, analysis_status, submission.error_code, text_body, job.status,
        case when submission.error_code like 'feedback%' then feedback_last_error else vision_last_error end as last_error
    from learning_submissions as submission left join learning_submission_jobs as job on job.submission_id = submission.id
    order by submission.created_at
"""
TRANSITIONS: Final[LiteralString] = """
    select extract(epoch from at)::float8 as at, job_id, submission_id, old_status, status, old_lease_key, lease_key,
        pages, has_text, crashes, expiries, retry_count, error_code, application_name
    from job_transitions order by number
"""
WRITTEN: Final[LiteralString] = """
    select extract(epoch from at)::float8 as at, submission_id, new_status as status, application_name
    from audit_results order by number
"""
OPEN: Final[LiteralString] = """
    select (
        select count(*) from learning_submissions where analysis_status not in ('completed', 'failed')
            and id not in (select submission_id from refusals)
    ) + (
        select count(*) from learning_submission_jobs where status in ('queued', 'leased')
            and submission_id not in (select submission_id from refusals)
    ) as open
"""


def open_count(owner: psycopg.Connection[Any]) -> int:
    """Return the number of submissions and jobs that are not final and not refused. Raises psycopg.OperationalError."""
    row = owner.execute(OPEN).fetchone()
    return row[0] if row else 0


@dataclass(frozen=True, slots=True)
class Observed:
    """The part of the record that the run itself knows."""

    acknowledged: frozenset[UUID]
    injected: tuple[InjectedFault, ...]
    refusals: tuple[Refusal, ...]
    runner_killers: frozenset[int]
    began_at: float
    ended_at: float


def collect(environment: ChaosEnvironment, plan: Plan, observed: Observed) -> RunRecord:
    """Collect the record after the fleets have ended."""
    with psycopg.connect(environment.database.admin_dsn, row_factory=dict_row) as owner:
        rows = owner.execute(SUBMISSIONS).fetchall()
        state = tuple(_submission_state(row, plan) for row in rows)
        transitions = owner.cursor(row_factory=class_row(JobTransition)).execute(TRANSITIONS).fetchall()
        written = owner.cursor(row_factory=class_row(WrittenResult)).execute(WRITTEN).fetchall()
        unreadable = tuple(faults_of_results(owner))
    calls = environment.simulator.calls()
    transitions.sort(key=lambda transition: transition.at)
    return RunRecord(
        acknowledged=observed.acknowledged,
        submissions=state,
        transitions=tuple(transitions),
        written=tuple(written),
        calls=tuple(VisionCall(call["at"], call["image_sha256"], call["outcome"]) for call in calls if call["has_image"]),
        injected=observed.injected,
        log=tuple(_log(environment)),
        began_at=observed.began_at,
        ended_at=observed.ended_at,
        refusals=observed.refusals,
        runner_killers=frozenset(row["id"] for row in rows if _number(row) in observed.runner_killers),
        samples=environment.sampler.samples(),
        lives=tuple(life for fleet in environment.fleets for life in fleet.lives),
        model_progress=tuple(at for call in calls if not call["is_empty"] for at in _progress(call)),
        unreadable=unreadable,
        hosts={fleet.home.name: frozenset(fleet.worker_pids) for fleet in environment.fleets},
    )


def _progress(call: dict[str, Any]) -> Iterator[float]:
    """Yield the times of the first token and of a successful end."""
    if call["first_byte_seconds"] is not None:
        yield call["at"] + call["first_byte_seconds"]
    if call["outcome"] == "done" and call["seconds"] is not None:
        yield call["at"] + call["seconds"]


def _log(environment: ChaosEnvironment) -> Iterator[LogLine]:
    """Yield the log lines that name a job. Each begins with its time."""
    for fleet in environment.fleets:
        with fleet.log.open(errors="replace") as log:
            for line in log:
                if " job=" in line:
                    at, _, text = line.rstrip().partition(" ")
                    yield LogLine(datetime.fromisoformat(at).timestamp(), fleet.home.name, text)


def _submission_state(row: DictRow, plan: Plan) -> SubmissionState:
    """Compare a row with its submission, which is made again from the seed."""
    planned = plan.submissions[_number(row)]
    submission = made(planned, plan.seed)
    pictures = _pictures(submission, planned.work)
    read = "\n\n".join(map(ocr_text, pictures))
    text = submission.content if planned.work is Work.TEXT else submission.cached_text_md or read
    return SubmissionState(
        submission_id=row["id"],
        work=planned.work,
        status=row["analysis_status"],
        error_code=row["error_code"],
        last_error=row["last_error"],
        job_status=row["status"],
        text_body=row["text_body"],
        expected_text=str(text),
        pages=tuple(hashlib.sha256(picture).hexdigest() for picture in pictures),
    )


def _number(row: DictRow) -> int:
    """The number of a submission in the plan."""
    return int(row["student_sub"].removeprefix(PUPIL))


def _pictures(submission: Submission, work: Work) -> tuple[bytes, ...]:
    """Return the pictures as a worker sends them to the model."""
    if isinstance(submission.content, str) or submission.mime_type is None or work is Work.DAMAGED:
        return ()
    if submission.rendered_pages:
        return tuple(_sent(page, max_pages=1, cuts_long_pages=False)[0] for page in submission.rendered_pages)
    return _sent(submission.content, MAX_PAGES)


def _sent(content: bytes, max_pages: int, *, cuts_long_pages: bool = True) -> tuple[bytes, ...]:
    return tuple(page.picture for page in open_document(content, max_pages, cuts_long_pages=cuts_long_pages).pages)
