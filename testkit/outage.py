"""Workers that have a finished answer while the database is down."""

from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from testkit.live_fleet import LiveFleet
from testkit.site import Site, Value
from testkit.waiting import until

WORKERS, TEXTS = 2, 5
ALL_RAN_OUT: LiteralString = """
    select coalesce(bool_and(leased_until < clock_timestamp()), true) as it from learning_submission_jobs where status = 'leased'
"""
GATE_SECONDS = 8.0  # the gate may stay closed for so much longer than a call of ours would take
NO_MODEL: dict[str, Value] = {"ai_backend": "stub", "learning_feedback_adapter": "testkit.adapters.gated"}


@dataclass(frozen=True, slots=True)
class Scene:
    """`WORKERS` workers, each in a model call that ends after `answer`, and further texts in the queue."""

    site: Site
    fleet: LiveFleet
    pids: list[int]
    entered: list[UUID]
    settings: dict[str, Value]

    def answer(self) -> None:
        """Let the model answer this and all later calls."""
        (self.site.directory / "gate").touch()

    def until_lost(self, error: str) -> None:
        """Wait until every worker has logged this error of its connection."""
        until(lambda: {line["slot"] for line in self.fleet.logged("connection_lost") if self._is(line, error)} == {"0", "1"})

    def until_dropped(self, count: int) -> None:
        """Wait until this number of results was rejected because the lease had been taken over."""
        until(lambda: sum(worker["totals"]["rejected_by_fence"] for worker in self.fleet.workers()) == count)

    def assert_survived(self, site: Site) -> None:
        """Check that each job has one lease and one result and that no process has ended. `site` can read the database."""
        site.until_done_once(self.entered)
        assert len(site.leases(*self.entered)) == len(self.entered)
        self.fleet.until_state("ok")
        assert self.fleet.worker_pids() == self.pids
        assert self.fleet.logged("exited") == []
        assert {each["outcome"] for each in self.fleet.logged("settled")} == {"completed"}

    @staticmethod
    def _is(line: dict[str, str], error: str) -> bool:
        return "slot" in line and line["error"] == error


def set_scene(site: Site, wrapper: tuple[str, ...] = (), **settings: Value) -> Scene:
    """Start the fleet with long leases and deadlines."""
    entered = site.enter_texts(TEXTS)
    gate: dict[str, Value] = {"gate": site.directory / "gate", "worker_concurrency": WORKERS, "ai_timeout_feedback": 60}
    values = {**NO_MODEL, **gate, **settings}
    values.setdefault("ai_foreign_timeout_seconds", float(str(values["ai_timeout_feedback"])) + GATE_SECONDS)
    fleet = site.start_with(values, wrapper=wrapper)
    return Scene(site, fleet, fleet.until_busy("feedback", WORKERS), entered, values)
