"""The login of the platform's single variables, at a real server."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from supervisor.settings.model import parse
from testkit.database import Database

ROLE = "select session_user as role, current_database() as name"


def test_the_parts_are_a_login(shared_database: Database) -> None:
    """The server takes the login that is made of the platform's single variables, in the platform's database."""
    worker = conninfo_to_dict(shared_database.worker_dsn)
    login = parse(
        {
            "AI_BACKEND": "stub",
            "LEARNING_WORKER_DB_USER": str(worker["user"]),
            "LEARNING_WORKER_DB_PASSWORD": str(worker["password"]),
            "TEST_DB_HOST": str(worker["host"]),
            "TEST_DB_PORT": str(worker.get("port", 5432)),
        }
    ).worker
    with psycopg.connect(login.learning_database_url.get_secret_value()) as connection:
        assert connection.execute(ROLE).fetchone() == (worker["user"], "postgres")
