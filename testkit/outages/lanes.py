"""Plays the lanes of a plan at the same time, each in a thread of its own. A lane without cases helps the others of its site."""

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import psycopg

from testkit.outages.case_run import play
from testkit.outages.matrix import Case
from testkit.outages.plan import Plan
from testkit.outages.scene import Scene, open_scene
from testkit.outages.verdict import Figures
from testkit.postgres import Cluster, memory_parent

CONNECTIONS_OF_A_LANE = 12
STARTS_AT_ONCE = 2  # of lanes: each start computes for seconds


@dataclass(slots=True)
class Lanes:
    """`on_case` is called after each case, by one thread at a time. `logs` gets the log of each fleet whose case was wrong."""

    plan: Plan
    on_case: Callable[[Figures], None]
    logs: Path | None = None
    _left: tuple[deque[Case], ...] = ()
    _found: list[Figures] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _starts: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(STARTS_AT_ONCE))

    def play(self) -> list[Figures]:
        """Play all cases. Raises ClusterError."""
        self._left = tuple(deque(cases) for _, cases in self.plan.lanes)
        with Cluster.start(memory_parent(), tcp=True, durable=False) as cluster:
            _allow_connections(cluster, CONNECTIONS_OF_A_LANE * (len(self.plan.lanes) + 2))
            threads = [
                threading.Thread(target=self._play_lane, args=(cluster.admin_dsn, number), daemon=True)
                for number in range(len(self.plan.lanes))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for case in chain(*self._left):
            self._note(Figures(case, problem="its lane ended"))
        return self._found

    def _play_lane(self, admin_dsn: str, number: int) -> None:
        try:
            with ExitStack() as undo:
                with self._starts:
                    site, _ = self.plan.lanes[number]
                    scene = undo.enter_context(open_scene(admin_dsn, site, number, self.plan.seed, is_long=self.plan.is_long))
                    scene.running()
                while case := self._next(number):
                    self._play_case(scene, case)
        except Exception as error:  # noqa: BLE001  other lanes play its cases, and those that are left are reported
            print(f"lane {number}: {type(error).__name__}: {error}", file=sys.stderr)

    def _next(self, number: int) -> Case | None:
        """Take the lane's next case. Without one, take the last case of the site's lane with the most cases."""
        with self._mutex:
            if self._left[number]:
                return self._left[number].popleft()
            site, _ = self.plan.lanes[number]
            longest = max((left for left, (other, _) in zip(self._left, self.plan.lanes, strict=True) if other is site), key=len)
            return longest.pop() if longest else None

    def _play_case(self, scene: Scene, case: Case) -> None:
        figures = play(scene, case, self.plan.seconds(case))
        if self.logs and figures.was_met and not figures.is_right:
            scene.keep_log(self.logs / f"{case.name.replace('/', '-')}.log")
        self._note(figures)

    def _note(self, figures: Figures) -> None:
        with self._mutex:
            self._found.append(figures)
            self.on_case(figures)


def _allow_connections(cluster: Cluster, count: int) -> None:
    with psycopg.connect(cluster.admin_dsn, autocommit=True) as admin:
        admin.execute(f"alter system set max_connections = {count}")
    cluster.halt()
    cluster.resume()
