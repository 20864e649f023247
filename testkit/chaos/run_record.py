"""The record of a run, made from outside of the fleets. Times are Unix seconds of this machine."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final
from uuid import UUID

from testkit.chaos.plan import Kind, Work

_PID: Final = re.compile(r"pid (\d+)")


def pid_in(application_name: str) -> int | None:
    """Return the pid in a worker's application name, None for monitors and the platform."""
    found = _PID.search(application_name)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class SubmissionState:
    """A submission at the end. `pages` are the sha256 of its pictures in order, `text_body` is None if it is not final."""

    submission_id: UUID
    work: Work
    status: str
    error_code: str | None
    last_error: str | None
    job_status: str | None
    text_body: str | None
    expected_text: str
    pages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobTransition:
    """One committed change of a job. `old_status` is None for an insert, `status` is None for a delete.

    `pages` and `has_text` are the committed parts of its text.
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
        """The pid of the worker that wrote it, None for the platform and for a monitor, which reclaims leases."""
        return pid_in(self.application_name)


@dataclass(frozen=True, slots=True)
class WrittenResult:
    """One write of a result."""

    at: float
    submission_id: UUID
    status: str
    application_name: str


@dataclass(frozen=True, slots=True)
class VisionCall:
    """One call of the vision model."""

    at: float
    image_sha256: str
    outcome: str | None


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that took place. `pids` are the workers that it ended or delayed, None for all.

    `hosts` are those that it concerned, `until` is the time of its end, at least `at`.
    """

    at: float
    kind: Kind
    pids: frozenset[int] | None
    detail: str = ""
    hosts: frozenset[str] = frozenset()
    until: float = -inf


@dataclass(frozen=True, slots=True)
class Refusal:
    """The database refused writes to a submission with this SQLSTATE. `until` is None if it still does at the end."""

    submission_id: UUID
    sqlstate: str
    at: float
    until: float | None


@dataclass(frozen=True, slots=True)
class SupervisorLife:
    """The time in which a supervisor process existed."""

    host: str
    began_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class StatusSample:
    """The answer of `status` on a host: the state of a document, `not running`, or `no answer`.

    `at` is the time of the request. A command takes seconds on a busy host, so its answer may describe a later time.
    """

    at: float
    host: str
    state: str
    message: str
    answered_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log line about a job. `host` is the name of the fleet's directory."""

    at: float
    host: str
    text: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """`acknowledged` are the submissions whose commit the server has confirmed. `transitions` are in order.

    `model_progress` are the times of first tokens and of ends of successful calls. `hosts` has the pids of each host's workers.
    `runner_killers` are submissions whose text killed the model's runner. `unreadable` has each fault of a result, by the rules
    of the platform's readers.
    """

    acknowledged: frozenset[UUID]
    submissions: tuple[SubmissionState, ...]
    transitions: tuple[JobTransition, ...]
    written: tuple[WrittenResult, ...]
    calls: tuple[VisionCall, ...]
    injected: tuple[InjectedFault, ...]
    log: tuple[LogLine, ...]
    began_at: float
    ended_at: float
    refusals: tuple[Refusal, ...] = ()
    runner_killers: frozenset[UUID] = frozenset()
    samples: tuple[StatusSample, ...] = ()
    lives: tuple[SupervisorLife, ...] = ()
    model_progress: tuple[float, ...] = ()
    hosts: Mapping[str, frozenset[int]] = field(default_factory=dict)
    unreadable: tuple[tuple[UUID, str], ...] = ()

    def transitions_of(self) -> Mapping[UUID, list[JobTransition]]:
        """Return the transitions by submission."""
        found: dict[UUID, list[JobTransition]] = {}
        for transition in self.transitions:
            found.setdefault(transition.submission_id, []).append(transition)
        return found
