"""One case in a lane: enter work, let the fault begin and end, and wait for the end of the work."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from testkit.chaos.plan import Work
from testkit.host_names import DATABASE, MODEL_SERVER, OBJECT_STORE
from testkit.live_fleet import LiveFleet
from testkit.outages.database_faults import MADE_BY_A_STATEMENT, database_fault
from testkit.outages.database_proxy import DatabaseProxy
from testkit.outages.file_faults import root_fault
from testkit.outages.http_proxy import HttpProxy
from testkit.outages.matrix import Case, Moment, Request, Target, Way
from testkit.outages.plan import Site
from testkit.outages.scene import WORKERS, Scene
from testkit.outages.status_truth import WELL_AGAIN_SECONDS, Outage, Sample, wrong_samples
from testkit.outages.verdict import Figures, Observed, judge
from testkit.site import FEEDBACK_MODEL, VISION_MODEL
from testkit.waiting import until

BEFORE_SECONDS: Final = 60.0  # until the jobs before the fault are done
AFTER_SECONDS: Final = 25.0  # for all jobs after the fault. What is open then is unfinished
AFTER_TURNS_SECONDS: Final = 50.0  # the same where two models take turns: each change between them waits for their memory (5 s)
MET_SECONDS: Final = 8.0  # longer than a short outage, for a busy machine
POLL_SECONDS: Final = 0.05
SAMPLE_SECONDS: Final = 0.5
NAMES: Final = {
    Request.NAME_OF_MODEL_SERVER: MODEL_SERVER,
    Request.NAME_OF_STORE: OBJECT_STORE,
    Request.NAME_OF_DATABASE: DATABASE,
}
EARLIER: Final = {
    Moment.FIRST: (),
    Moment.MIDDLE: (Work.TEXT, Work.PHOTO, Work.TEXT, Work.PHOTO),
    Moment.LAST: (Work.TEXT, Work.PHOTO),
}
LATER: Final = {
    Moment.FIRST: (Work.PHOTO, Work.TEXT, Work.PHOTO),
    Moment.MIDDLE: (Work.PHOTO, Work.TEXT),
    Moment.LAST: (Work.PHOTO,),
}
DONE_BEFORE: Final = {Moment.FIRST: 0, Moment.MIDDLE: 1, Moment.LAST: 2}


class NotPossible(Exception):
    """This system does not allow the fault."""


@dataclass(slots=True)
class CaseRun:
    """`met` counts the requests that met the fault, None if they cannot be counted."""

    scene: Scene
    case: Case
    seconds: float
    samples: list[Sample] = field(default_factory=list)
    met: int | None = None
    deaths: int = 0
    _sampled_at_seconds: float = 0.0

    def play(self) -> Figures:
        """Play the case, and replace the fleet if it is not well afterwards."""
        self._prepare()
        if self.case.is_lock:
            self.scene.book.release()  # the lock would keep it waiting
        with self._fault():
            began_at = time.time()
            self._unload_for_a_preload()
            if not self.case.is_lock:
                self.scene.book.release()
            self._kill_for_a_reclaim()
            self._watch(began_at + self.seconds)
            self._watch_until_met(began_at + self.seconds + MET_SECONDS)
            open_ids = self.scene.book.open_ids()
        ended_at = time.time()
        is_done = self._until_done(ended_at + (AFTER_TURNS_SECONDS if self.scene.site is Site.TURNS else AFTER_SECONDS))
        figures = judge(self.case, self._observed(began_at, ended_at, open_ids, is_well_again=is_done and self._is_well_again()))
        if not is_done or not figures.is_right:
            self.scene.end_fleet()
        return figures

    # Before the fault

    def _prepare(self) -> None:
        book, moment = self.scene.book, self.case.moment
        fleet = self.scene.running()
        if moment is Moment.FIRST:
            self._renew_workers(fleet)
        self.scene.simulator.reset_calls()
        book.begin_case()
        book.enter(*LATER[moment], is_held=True)
        book.enter(*EARLIER[moment])
        until(lambda: len(book.done_at()) >= DONE_BEFORE[moment], BEFORE_SECONDS, "the jobs before the fault")
        if self.case.request is Request.TAGS:
            self._renew_workers(fleet)  # each worker asks once for what it keeps

    def _renew_workers(self, fleet: LiveFleet) -> None:
        pids = fleet.worker_pids()
        fleet.command("/recycle", slots=list(range(WORKERS))).raise_for_status()
        until(lambda: self._are_new(pids), BEFORE_SECONDS, "new workers")

    def _are_new(self, old_pids: list[int]) -> bool:
        workers = self.scene.status().get("workers", [])
        return bool(workers) and all(each["activity"] == "idle" and each["pid"] not in old_pids for each in workers)

    # The fault

    @contextmanager
    def _fault(self) -> Iterator[None]:
        scene, (request, way) = self.scene, (self.case.request, self.case.way)
        if way in MADE_BY_A_STATEMENT:
            with database_fault(scene.database, scene.owner, self.case, scene.book.open_ids()):
                yield
        elif request.target is Target.ROOT:
            with root_fault(scene.root, way):
                yield
        elif request.target is Target.NAMES:
            with self._name_fault():
                yield
        else:
            with self._proxy_fault():
                yield

    @contextmanager
    def _proxy_fault(self) -> Iterator[None]:
        server = self._server()
        server.begin(self.case.request, self.case.way)
        try:
            yield
        finally:
            self.met = None if self.case.way is Way.REFUSED else server.met
            server.end()

    def _server(self) -> HttpProxy | DatabaseProxy:
        match self.case.request.target:
            case Target.DATABASE:
                return self.scene.database_server
            case Target.STORE:
                return self.scene.store
        return self.scene.model_server

    @contextmanager
    def _name_fault(self) -> Iterator[None]:
        names, name = self.scene.names, NAMES[self.case.request]
        if names is None:
            raise NotPossible("a C compiler is needed")
        (names.hang if self.case.way is Way.HUNG else names.forget)(name)
        if name == DATABASE:
            self.scene.database_server.cut()
        try:
            yield
        finally:
            self.met = int(names.has_hung(name))
            names.heal()

    def _unload_for_a_preload(self) -> None:
        """Unload both models behind the monitor's back, so that it has to load them."""
        if self.case.request is Request.PRELOAD:
            for model in (VISION_MODEL, FEEDBACK_MODEL):
                reply = self.scene.simulator.client.post("/api/generate", json={"model": model, "prompt": "", "keep_alive": 0})
                reply.raise_for_status()

    def _kill_for_a_reclaim(self) -> None:
        """Kill a worker with a job, so that the monitor has a lease to reclaim."""
        if self.case.request is not Request.RECLAIM:
            return
        deadline = time.monotonic() + BEFORE_SECONDS
        while time.monotonic() < deadline:
            busy = [each["pid"] for each in self.scene.status().get("workers", []) if each["job_id"]]
            if busy:
                with suppress(ProcessLookupError):
                    os.kill(busy[0], signal.SIGKILL)
                    self.deaths = 1
                return

    def _watch(self, until_at: float) -> None:
        while time.time() < until_at:
            self._sample()
            time.sleep(POLL_SECONDS)

    def _watch_until_met(self, until_at: float) -> None:
        """Let a short outage last until a request meets it, because a busy machine may be slower than the outage."""
        while self._met() == 0 and time.time() < until_at:
            self._sample()
            time.sleep(POLL_SECONDS)

    def _met(self) -> int | None:
        """Return the number of requests that have met the fault, None if they cannot be counted."""
        if self.case.request is Request.SHOW or self.case.way in {Way.REFUSED, *MADE_BY_A_STATEMENT}:
            return None
        match self.case.request.target:
            case Target.MODEL_SERVER | Target.STORE | Target.DATABASE:
                return self._server().met
            case Target.NAMES if self.scene.names:
                return int(self.scene.names.has_hung(NAMES[self.case.request]))
        return None

    def _sample(self) -> None:
        now_seconds = time.monotonic()
        if now_seconds - self._sampled_at_seconds < SAMPLE_SECONDS:
            return
        self._sampled_at_seconds, at = now_seconds, time.time()
        status = self.scene.status()
        self.samples.append(Sample(at, status.get("state", ""), status.get("message", "")))

    # After the fault

    def _until_done(self, until_at: float) -> bool:
        while self.scene.book.open_ids():
            if time.time() > until_at:
                return False
            self._sample()
            time.sleep(POLL_SECONDS)
        return True

    def _is_well_again(self) -> bool:
        with suppress(TimeoutError):
            until(lambda: self.scene.status().get("state") == "ok", WELL_AGAIN_SECONDS, "a good status")
            return True
        return False

    def _observed(self, began_at: float, ended_at: float, open_ids: Any, *, is_well_again: bool) -> Observed:
        book = self.scene.book
        done_at, calls = book.done_at(), self._answered()
        outage = Outage(began_at, ended_at, self.scene.is_long)
        wrong = [
            f"{each.at - began_at:.1f} s: {each.state}: {each.message}"
            for each in wrong_samples(self.case, self.samples, list(done_at.values()), len(book.ids), outage)
        ]
        if not is_well_again and len(done_at) == len(book.ids):
            wrong.append(f"after the outage: {self.scene.status().get('message', 'no answer')}")
        return Observed(
            works=dict(book.works),
            histories=book.histories(),
            failed_ids=book.failed_ids(),
            done_at=done_at,
            open_ids=open_ids,
            recovered_at=book.first_commit_after(ended_at, open_ids),
            ended_at=ended_at,
            vision_calls=sum(call["has_image"] for call in calls),
            feedback_calls=sum(not call["has_image"] for call in calls),
            wrong_status=wrong,
            met=self.met,
            planned_deaths=self.deaths,
            cut_calls=self.scene.model_server.cut if self.case.request is Request.MODEL_SERVER else 0,
        )

    def _answered(self) -> list[dict[str, Any]]:
        """Answered calls for submissions. Requests of the monitor are no calls to `chat`, or have a picture of no submission."""
        return [
            call
            for call in self.scene.simulator.calls()
            if call["endpoint"].endswith("chat") and call["outcome"] == "done" and not call["is_empty"]
        ]


def play(scene: Scene, case: Case, seconds: float) -> Figures:
    """Play a case. An error of the parts is a case that could not be played, and does not end the run."""
    try:
        return CaseRun(scene, case, seconds).play()
    except Exception as error:  # noqa: BLE001  named in the report, and the run fails
        with suppress(Exception):
            scene.end_fleet()
        return Figures(case, problem=f"{type(error).__name__}: {error}")
