"""The decision whether the death of a worker counts against the job that it held.

Before a model is asked, a worker looks names up, reads files and asks the database. A hang there is the fault of the
surroundings: a name server, a dead mount, a lock. A crash there may be, so the first one of a job is not counted. Without any
count, a job that crashes each worker would never end.

In a call of a foreign adapter a worker waits for a model as long as the adapter allows. A hang there is a slow model, too.
"""

from uuid import UUID

from supervisor.core.facts import Exited
from supervisor.core.fleet import ExitCause

MAX_SPARED = 64  # jobs that are remembered


def is_counted(fact: Exited, cause: ExitCause, spared_job_ids: tuple[UUID, ...]) -> bool:
    """Report whether the job in hand is at fault."""
    if not cause.is_crash or (cause is ExitCause.HUNG and fact.is_foreign_call):
        return False
    if not fact.is_before_call:
        return True
    return cause is not ExitCause.HUNG and (fact.job_id is None or fact.job_id in spared_job_ids)


def spared(fact: Exited, cause: ExitCause, spared_job_ids: tuple[UUID, ...]) -> tuple[UUID, ...]:
    """Return the spared jobs after this end."""
    is_doubtful = cause.is_crash and cause is not ExitCause.HUNG and fact.is_before_call
    if fact.job_id is None or fact.job_id in spared_job_ids or not is_doubtful:
        return spared_job_ids
    return (*spared_job_ids, fact.job_id)[-MAX_SPARED:]
