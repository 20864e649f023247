"""One input: a submission, its corruption or the model's fault, and the expected result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from testkit.submissions import Submission


class Place(Enum):
    """The place of the submissions' files."""

    DIRECTORY = "directory"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Entered:
    """A submission in the queue, before it is leased."""

    owner: psycopg.Connection[Any]
    submission_id: UUID
    storage_root: Path

    @property
    def path(self) -> Path:
        row = self.owner.execute("select storage_key from learning_submissions where id = %s", [self.submission_id]).fetchone()
        assert row is not None
        return self.storage_root / str(row["storage_key"])

    def change_row(self, change: LiteralString, *values: object) -> None:
        self.owner.execute("update learning_submissions set " + change + " where id = %s", [*values, self.submission_id])

    def set_payload(self, payload: object) -> None:
        self._change_payload("%s", payload)

    def merge_payload(self, payload: Mapping[str, object]) -> None:
        self._change_payload("payload || %s", payload)

    def drop_from_payload(self, *names: str) -> None:
        change: LiteralString = "update learning_submission_jobs set payload = payload - %s::text[] where submission_id = %s"
        self.owner.execute(change, [list(names), self.submission_id])

    def _change_payload(self, change: LiteralString, payload: object) -> None:
        query: LiteralString = "update learning_submission_jobs set payload = " + change + " where submission_id = %s"
        self.owner.execute(query, [Jsonb(payload), self.submission_id])


@dataclass(frozen=True, slots=True)
class Input:
    """`fault` is set in the simulator for this input's requests. `corrupt` is called after the submission was entered.

    `error_code` None means that it must be completed. `reason` is the expected text beside it. `parts` must be in the text that
    was read, each once and in order, and `unwanted` must not. `is_alone`: its fault would affect other inputs.
    """

    label: str
    submission: Submission
    error_code: str | None = None
    fault: Mapping[str, Any] = field(default_factory=dict)
    corrupt: Callable[[Entered], object] | None = None
    place: Place = Place.DIRECTORY
    is_alone: bool = False
    reason: str = ""
    parts: tuple[str, ...] = ()
    unwanted: str = ""

    @property
    def status(self) -> str:
        return "failed" if self.error_code else "completed"
