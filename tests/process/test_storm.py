"""Deaths and replacements without end: counters only grow, and descriptors, processes and series stay as many as they were."""

import psutil
import pytest

from testkit.live_fleet import LiveFleet, kill_all
from testkit.site import Site
from testkit.waiting import until

RECYCLES, KILLS = 10, 5


def totals(fleet: LiveFleet) -> dict[str, float]:
    """Totals as scraped, with repetition while the monitor is being replaced."""
    return {name: value for name, value in fleet.metrics().items() if "_total" in name}


def descriptors(fleet: LiveFleet) -> int:
    return psutil.Process(fleet.pid).num_fds()


def until_another_monitor(fleet: LiveFleet, dead_pid: int) -> None:
    until(lambda: fleet.monitor_pid() != dead_pid)


def until_measured(fleet: LiveFleet) -> None:
    """Waits until a new worker has its series of memory, which begins with the first sample."""
    until(lambda: all(worker["rss_bytes"] and worker["uss_bytes"] for worker in fleet.workers()))


def assert_grown(before: dict[str, float], after: dict[str, float]) -> None:
    """The same series, none of them smaller."""
    assert before.keys() == after.keys()
    assert {name for name in before if after[name] < before[name]} == set()


@pytest.mark.second_tier
def test_replacements_leave_nothing_behind(site: Site) -> None:
    """All workers are replaced many times on command, with jobs between. No slot waits as after a crash, nothing is left over."""
    fleet = site.start(worker_concurrency=4)
    site.until_done(site.enter_texts(2))  # a step's series begins with the step
    fleet.until_idle()
    until_measured(fleet)
    before, series, open_before = totals(fleet), fleet.metrics().keys(), descriptors(fleet)
    for _ in range(RECYCLES):
        old = fleet.worker_pids()
        fleet.command("/recycle", slots="all")
        site.enter_texts(2)
        fleet.until_replaced(old)
        assert_grown(before, after := totals(fleet))
        before = after
    site.until_done([row["id"] for row in site.all("select id from learning_submissions")])
    fleet.until_idle()
    assert before['learning_process_starts_total{role="worker"}'] == 4 * (RECYCLES + 1)
    assert before['learning_process_crashes_total{role="worker"}'] == 0
    until_measured(fleet)
    assert fleet.metrics().keys() == series
    assert descriptors(fleet) == open_before
    assert {child.pid for child in fleet.children()} == {*fleet.worker_pids(), fleet.monitor_pid()}


def test_counters_never_decrease_in_a_kill_storm(site: Site) -> None:
    """Workers and the monitor are killed again and again during scrapes: no total ever goes back, none is forgotten."""
    fleet = site.start(worker_concurrency=4, restart_backoff_seconds=0.1, restart_backoff_max_seconds=1, healthy_after_seconds=1)
    fleet.until_idle()
    before, open_before = totals(fleet), descriptors(fleet)
    for death in range(1, KILLS + 1):
        victims = fleet.worker_pids()
        monitor = fleet.monitor_pid()
        kill_all([*victims, monitor])
        site.enter_texts(2)
        fleet.until_replaced(victims)
        until_another_monitor(fleet, monitor)
        assert_grown(before, after := totals(fleet))
        assert after['learning_process_crashes_total{role="worker"}'] == 4 * death
        before = after
    site.until_done([row["id"] for row in site.all("select id from learning_submissions")])
    fleet.until_idle()
    assert before['learning_worker_crashes_total{cause="signal"}'] == 4 * KILLS
    assert descriptors(fleet) == open_before
    assert [child for child in fleet.children() if child.status() == psutil.STATUS_ZOMBIE] == []
