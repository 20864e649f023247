"""Workers with a finished answer in hand while the database is away: how they get there, and how it has to end."""

from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from testkit.waiting import until
from tests.process.fleet import LiveFleet
from tests.process.site import Site, Value

WORKERS, TEXTS = 2, 5
ALL_RAN_OUT: LiteralString = """
    select coalesce(bool_and(leased_until < clock_timestamp()), true) as it from learning_submission_jobs where status = 'leased'
"""
NO_MODEL: dict[str, Value] = {"ai_backend": "stub", "learning_feedback_adapter": "tests.process.adapters.gated"}


@dataclass(frozen=True, slots=True)
class Scene:
    """`WORKERS` workers, each in the call of a model that answers when `answer` is called, and texts that wait."""

    site: Site
    fleet: LiveFleet
    pids: list[int]
    entered: list[UUID]
    settings: dict[str, Value]

    def answer(self) -> None:
        """Now and for all later calls."""
        (self.site.directory / "gate").touch()

    def until_lost(self, error: str) -> None:
        """Every worker has tried to write, and was told of this error."""
        until(lambda: {told["slot"] for told in self.fleet.told("connection_lost") if self._is(told, error)} == {"0", "1"})

    def until_dropped(self, count: int) -> None:
        """So many answers found their lease in other hands, and were counted as that."""
        until(lambda: sum(worker["totals"]["rejected_by_fence"] for worker in self.fleet.workers()) == count)

    def assert_survived(self, site: Site) -> None:
        """The answers in hand were written: each job had one lease and one result; no process has ended. `site` sees it now."""
        site.until_done_once(self.entered)
        assert len(site.leases(*self.entered)) == len(self.entered)
        self.fleet.until_state("ok")
        assert self.fleet.worker_pids() == self.pids
        assert self.fleet.told("exited") == []
        assert {each["outcome"] for each in self.fleet.told("settled")} == {"completed"}

    @staticmethod
    def _is(told: dict[str, str], error: str) -> bool:
        return "slot" in told and told["error"] == error


def set_scene(site: Site, wrapper: tuple[str, ...] = (), **settings: Value) -> Scene:
    """With the leases and deadlines of a model that may take its time."""
    entered = site.enter_texts(TEXTS)
    gate: dict[str, Value] = {"gate": site.directory / "gate", "worker_concurrency": WORKERS, "ai_timeout_feedback": 60}
    values = {**NO_MODEL, **gate, **settings}
    fleet = site.start_with(values, wrapper=wrapper)
    return Scene(site, fleet, fleet.until_busy("feedback", WORKERS), entered, values)
