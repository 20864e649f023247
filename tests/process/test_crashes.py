"""Crash loops of all workers and of one: when the supervisor gives up, and when it does not."""

from datetime import UTC, datetime

import pytest

from testkit.live_fleet import LiveFleet, kill_all
from testkit.site import Site, Value
from testkit.waiting import until

ADAPTERS = "testkit.adapters."
GAVE_UP = 69
MOST_STARTS = 8  # of one slot in a minute
WINDOW_SECONDS, INTENSITY = 3, 3


def start_crowded(site: Site, workers: int, room: int, **settings: float) -> LiveFleet:
    """Only this number of workers can start. The others die in their import."""
    (site.directory / "room").write_text(str(room))
    crowded: dict[str, Value] = {
        "worker_concurrency": workers,
        "ai_backend": "stub",
        "learning_feedback_adapter": ADAPTERS + "crowded",
        "restart_window_seconds": WINDOW_SECONDS,
        "restart_intensity": INTENSITY,
    }
    return site.start_with(crowded | settings)


def deaths(fleet: LiveFleet) -> list[dict[str, str]]:
    return [each for each in fleet.logged("exited") if each["slot"] != "monitor"]


def test_only_crashes_end_the_service(site: Site) -> None:
    """Workers that die at birth cost few starts, give an exit code of their own, and a last line that explains it."""
    site.enter_text()
    fleet = start_crowded(site, workers=4, room=0)
    assert fleet.exit_code() == GAVE_UP
    assert {(each["status"], each["cause"]) for each in deaths(fleet)} == {("signal 11", "boot")}
    starts = [each["slot"] for each in fleet.logged("spawned")]
    assert max(starts.count(slot) for slot in starts) <= MOST_STARTS
    last = fleet.log()[-1]
    assert " ERROR finished exit_code=69 " in last
    assert "the exited and bug lines before" in last
    assert [job["status"] for job in site.jobs()] == ["queued"]
    assert fleet.living() == []


@pytest.mark.second_tier
def test_one_bad_slot_does_not_end_the_service(site: Site) -> None:
    """One slot crashes for longer than all together may. Status shows it as missing with the reason, and the other slot works
    on.
    """
    fleet = start_crowded(site, workers=2, room=1, restart_backoff_seconds=0.5, restart_backoff_max_seconds=2)
    until(lambda: len(deaths(fleet)) > INTENSITY and lasted_seconds(fleet) > 2 * WINDOW_SECONDS)
    until(lambda: "(signal 11, boot)" in fleet.status()["message"])
    assert fleet.status()["state"] == "degraded"
    assert fleet.get("/healthz").status_code == 200
    site.until_done_once(site.enter_texts(4))
    assert fleet.logged("give_up") == []
    assert len({each["slot"] for each in deaths(fleet)}) == 1
    assert fleet.stop() == 0


def lasted_seconds(fleet: LiveFleet) -> float:
    """Seconds since the first death. The latest may be a while ago, because a slot starts at most eight times a minute."""
    first = datetime.fromisoformat(deaths(fleet)[0]["at"])
    return (datetime.now(UTC) - first).total_seconds()


def test_a_healthy_run_ends_the_backoff(site: Site) -> None:
    """Crashes with a healthy run between them cost no wait, however long the wait after a row of crashes would be."""
    fleet = site.start(restart_backoff_seconds=60, restart_backoff_max_seconds=600, healthy_after_seconds=1)
    for _ in range(4):
        fleet.until_idle()
        until(lambda: fleet.workers()[0]["since_seconds"] > 1)
        victims = fleet.worker_pids()
        kill_all(victims)
        fleet.until_replaced(victims)
    assert [each["cause"] for each in deaths(fleet)] == ["signal"] * 4


def test_a_stop_ends_a_wait_for_the_next_start(site: Site) -> None:
    """A request to stop while every slot waits for its backoff is the end at once, and not the next start."""
    fleet = start_crowded(site, workers=2, room=0, restart_backoff_seconds=60, restart_window_seconds=600)
    until(lambda: len(deaths(fleet)) >= 2 and not fleet.worker_pids())
    started = len(fleet.logged("spawned"))
    assert fleet.stop() == 0
    assert len(fleet.logged("spawned")) == started
