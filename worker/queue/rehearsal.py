"""Rehearses a write: runs its statements for the leased job and rolls them back.

So a refusal is known before a model is called. The texts are constants, because the model has not answered yet.
"""

from psycopg.types.json import Jsonb

from worker.core.outcome import Lease
from worker.core.refusal import Access
from worker.queue.connection import Connection
from worker.queue.statements import statement

_CHECKPOINT_PAGE, _CHECKPOINT, _SETTLE = statement("checkpoint_page"), statement("checkpoint"), statement("settle")
_STATEMENTS = {
    Access.READ: (),
    Access.BEGIN: (),
    Access.CHECKPOINT: (_CHECKPOINT_PAGE, _CHECKPOINT),
    Access.RESULT: (_SETTLE,),
}
_TEXT = "rehearsal"
_VALUES = {
    "page": 1,
    "grade": Jsonb({}),
    "text_md": _TEXT,
    "fingerprint": _TEXT,
    "raw_metadata": Jsonb({}),
    "feedback_md": _TEXT,
    "analysis": Jsonb({"schema": "criteria.v2", "score": 0, "criteria_results": []}),
}


def rehearse(connection: Connection, lease: Lease, access: Access, lease_seconds: float, *, has_text: bool = True) -> None:
    """Raise the server's error if it refuses the write. Changes nothing, and the session keeps its permit.

    Without `has_text` the result has none, as of a dialog, whose row the database refuses with one.
    """
    values = {"job_id": lease.job_id, "lease_key": lease.lease_key, "lease_seconds": lease_seconds, **_VALUES}
    values["text_md"] = _TEXT if has_text else None
    with connection.transaction(force_rollback=True):
        for sql in _STATEMENTS[access]:
            connection.execute(sql, values)
        connection.execute("set constraints all immediate")  # constraints that are otherwise checked at the commit
