"""Other duties of the platform's worker of 2026. One of each is done per round."""

from typing import Final, LiteralString

from psycopg import Connection
from psycopg.rows import DictRow

ROUND: Final[tuple[LiteralString, ...]] = (
    "select learning_worker_complete_export(learning_worker_claim_export(), 'exports/one.zip', 1)",
    "select learning_worker_complete_storage_deletion(learning_worker_claim_course_deletion(), gen_random_uuid())",
    "select learning_worker_complete_expired_export(learning_worker_claim_expired_export(), gen_random_uuid())",
    "select purge_course_invite_mail_recipients()",
    "select complete_course_invite_mail_delivery(claim_course_invite_mail_delivery())",
)


def do_one_of_each(connection: Connection[DictRow]) -> None:
    for statement in ROUND:
        connection.execute(statement)
