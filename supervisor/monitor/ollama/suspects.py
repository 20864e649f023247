"""The jobs whose calls to a model failed since its last answer, as far as each may be its own fault.

Several of them speak for each other: a model that answers the monitor's probes may still fail every real call.
"""

from collections.abc import Mapping
from uuid import UUID


class Suspects:
    """Suspect jobs of each model. `carried` has the numbers of the monitor before this one, which hold until an answer."""

    def __init__(self, carried: Mapping[str, int]) -> None:
        self._carried = dict(carried)
        self._jobs: dict[str, set[UUID]] = {model: set() for model in carried}

    def add(self, model: str, job_id: UUID) -> None:
        self._jobs[model].add(job_id)

    def forget(self, job_id: UUID) -> None:
        """A job that has ended is no suspect: its failure was its own, or it has a result."""
        for jobs in self._jobs.values():
            jobs.discard(job_id)

    def answered(self, model: str) -> None:
        self._carried[model] = 0
        self._jobs[model].clear()

    def count(self, model: str | None) -> int:
        """Return the number of suspect jobs. 0 for no model."""
        return max(self._carried[model], len(self._jobs[model])) if model else 0
