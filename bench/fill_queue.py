"""Fill the queue with one statement. A million jobs take seconds."""

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg

WORK_LIMIT_SECONDS = 120.0  # for the jobs of one measurement
_FILL: LiteralString = """
    with typed as (select text, number from unnest(%(texts)s::text[]) with ordinality as typed (text, number)),
    handed_in as (
        insert into learning_submissions (course_id, task_id, student_sub, kind, text_body, attempt_nr)
        select gen_random_uuid(), gen_random_uuid(), 'pupil', 'text', text, number
        from typed
        union all
        select gen_random_uuid(), gen_random_uuid(), 'pupil', 'text', 'two plus two is four', number
        from generate_series(1, %(copies)s) as number
        returning id, course_id, task_id, attempt_nr
    )
    insert into learning_submission_jobs (submission_id, payload, visible_at)
    select id, jsonb_build_object(
            'submission_id', id, 'course_id', course_id, 'task_id', task_id, 'student_sub', 'pupil', 'kind', 'text',
            'attempt_nr', attempt_nr, 'criteria', jsonb_build_array('clear')),
        now() - interval '1 day' + case when %(same)s then interval '0' else attempt_nr * interval '1 millisecond' end
    from handed_in
"""


def fill(owner: psycopg.Connection[Any], jobs: int, *, same: bool = False) -> None:
    """Replace the queue by equal jobs, visible one millisecond apart or all at the `same` time.

    The server's statistics are up to date, and no notification is sent.
    """
    owner.execute("truncate learning_submissions, learning_submission_jobs")
    with owner.transaction():
        owner.execute("alter table learning_submissions disable trigger user")
        owner.execute(_FILL, {"texts": [], "copies": jobs, "same": same})
        owner.execute("alter table learning_submissions enable trigger user")
    owner.execute("vacuum analyze learning_submissions")
    owner.execute("vacuum analyze learning_submission_jobs")
    owner.execute("checkpoint")


def enter_texts(owner: psycopg.Connection[Any], texts: Sequence[str]) -> None:
    """Enter texts in one transaction, with a notification for each. They are leased in this order."""
    owner.execute(_FILL, {"texts": list(texts), "copies": 0, "same": False})


def is_empty(owner: psycopg.Connection[Any]) -> bool:
    return owner.execute("select from learning_submission_jobs limit 1").fetchone() is None
