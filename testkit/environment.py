"""The surroundings of a supervisor or worker: database, model server, files, and submissions entered as by the platform."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from testkit.database import Database
from testkit.submissions import Submission, enter_all

Value = str | float | Path


@dataclass(frozen=True, slots=True)
class Environment:
    """`owner` is the schema owner's connection, which may read and change everything.

    `directory` holds files, sockets and logs. Its path must be short, because the length of a socket's path is limited.
    """

    database: Database
    owner: psycopg.Connection[DictRow]
    ollama_url: str
    directory: Path

    @property
    def storage_root(self) -> Path:
        return self.directory / "files"

    def settings(self) -> dict[str, Value]:
        """Return the settings that lead to this environment, by field name."""
        self.storage_root.mkdir(exist_ok=True)
        return {
            "ai_backend": "local",
            "learning_database_url": self.database.worker_dsn,
            "ollama_base_url": self.ollama_url,
            "runtime_directory": self.directory / "run",
            "status_addr": "127.0.0.1:0",
            "storage_verify_root": self.storage_root,
        }

    def enter(self, *submissions: Submission) -> list[UUID]:
        """Enter submissions and return their ids, in order."""
        with psycopg.connect(self.database.admin_dsn, autocommit=True) as platform:
            return list(enter_all(platform, submissions, storage_root=self.storage_root))

    def submission(self, submission_id: UUID) -> DictRow:
        return self.one("select * from learning_submissions where id = %s", submission_id)

    def job(self, submission_id: UUID) -> DictRow:
        return self.one("select * from learning_submission_jobs where submission_id = %s", submission_id)

    def change_job(self, change: LiteralString, submission_id: UUID, *values: object) -> None:
        self.owner.execute(
            "update learning_submission_jobs set " + change + " where submission_id = %s", [*values, submission_id]
        )

    def all(self, query: LiteralString, *values: Any) -> list[DictRow]:
        return self.owner.execute(query, values).fetchall()

    def one(self, query: LiteralString, *values: Any) -> DictRow:
        (row,) = self.all(query, *values)
        return row
