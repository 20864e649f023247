"""Plays the lanes of a plan at the same time, each in a thread of its own."""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from testkit.outages.case_run import play
from testkit.outages.matrix import Case
from testkit.outages.plan import Plan, Site
from testkit.outages.scene import open_scene
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
    _found: list[Figures] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _starts: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(STARTS_AT_ONCE))

    def play(self) -> list[Figures]:
        """Play all cases. Raises ClusterError."""
        with Cluster.start(memory_parent(), tcp=True, durable=False) as cluster:
            _allow_connections(cluster, CONNECTIONS_OF_A_LANE * (len(self.plan.lanes) + 2))
            threads = [
                threading.Thread(target=self._play_lane, args=(cluster.admin_dsn, number, site, cases), daemon=True)
                for number, (site, cases) in enumerate(self.plan.lanes)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return self._found

    def _play_lane(self, admin_dsn: str, number: int, site: Site, cases: Sequence[Case]) -> None:
        left = list(cases)
        try:
            with ExitStack() as undo:
                with self._starts:
                    scene = undo.enter_context(open_scene(admin_dsn, site, number, self.plan.seed, is_long=self.plan.is_long))
                    scene.running()
                while left:
                    figures = play(scene, left[0], self.plan.seconds(left[0]))
                    if self.logs and figures.was_met and not figures.is_right:
                        scene.keep_log(self.logs / f"{figures.case.name.replace('/', '-')}.log")
                    self._note(figures)
                    left.pop(0)
        except Exception as error:  # noqa: BLE001  the cases that are left are reported as not played
            print(f"lane {number}: {type(error).__name__}: {error}", file=sys.stderr)
        for case in left:
            self._note(Figures(case, problem="its lane ended"))

    def _note(self, figures: Figures) -> None:
        with self._mutex:
            self._found.append(figures)
            self.on_case(figures)


def _allow_connections(cluster: Cluster, count: int) -> None:
    with psycopg.connect(cluster.admin_dsn, autocommit=True) as admin:
        admin.execute(f"alter system set max_connections = {count}")
    cluster.halt()
    cluster.resume()
