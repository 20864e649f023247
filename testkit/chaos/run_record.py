"""What was seen in a run, by others than those who were tried. Times are Unix seconds of this one machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from testkit.chaos.plan import Kind, Work

_PID: Final = re.compile(r"pid (\d+)")


def pid_in(application_name: str) -> int | None:
    """Of the worker who calls itself so; monitors and the platform name none."""
    found = _PID.search(application_name)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class SubmissionState:
    """A submission as it stands at the end. `pages` are the sha256 of its pictures in order, `text_body` None while not final."""

    submission_id: UUID
    work: Work
    status: str
    error_code: str | None
    error_class: str | None
    job_status: str | None
    text_body: str | None
    expected_text: str
    pages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobTransition:
    """One committed change of a job. `old_status` None: it was entered; `status` None: it was deleted.

    `pages` and `has_text` say what of its text was committed by then.
    """

    at: float
    job_id: UUID
    submission_id: UUID
    old_status: str | None
    status: str | None
    old_lease_key: UUID | None
    lease_key: UUID | None
    pages: int
    has_text: bool
    crashes: int
    expiries: int
    retry_count: int
    error_code: str | None
    application_name: str

    @property
    def is_lease(self) -> bool:
        return self.lease_key is not None and self.lease_key != self.old_lease_key

    @property
    def pid(self) -> int | None:
        """Of the worker that wrote it; None for a monitor, who gives back what others held, and for the platform."""
        return pid_in(self.application_name)


@dataclass(frozen=True, slots=True)
class Written:
    """A result was written, were it the same one twice."""

    at: float
    submission_id: UUID
    status: str
    application_name: str


@dataclass(frozen=True, slots=True)
class Call:
    """The vision model was asked about a picture."""

    at: float
    image_sha256: str
    outcome: str | None


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that was played. `pids` are the workers that it took or held up, None where it was felt by all."""

    at: float
    kind: Kind
    pids: frozenset[int] | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a supervisor logged about a job or a submission; `host` is the name of its fleet's directory."""

    at: float
    host: str
    text: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All of it. `acknowledged` are the submissions whose commit the platform was told of; `transitions` are in their order."""

    acknowledged: frozenset[UUID]
    handed: tuple[SubmissionState, ...]
    transitions: tuple[JobTransition, ...]
    written: tuple[Written, ...]
    calls: tuple[Call, ...]
    injected: tuple[InjectedFault, ...]
    log: tuple[LogLine, ...]
    began_at: float
    ended_at: float

    def transitions_of(self) -> Mapping[UUID, list[JobTransition]]:
        """By submission."""
        found: dict[UUID, list[JobTransition]] = {}
        for transition in self.transitions:
            found.setdefault(transition.submission_id, []).append(transition)
        return found
