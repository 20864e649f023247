"""Hosts whose clocks are two hours apart, and suspended hosts: the database's clock decides, and every job ends once."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import LiteralString

import psutil
import pytest

from testkit.live_fleet import PROJECT_ROOT, LiveFleet
from testkit.outage import ALL_RAN_OUT, WORKERS, Scene, set_scene
from testkit.pg_proxy import proxy_before
from testkit.site import Site, Value
from testkit.waiting import until

HOUR_SECONDS = 3600
LIBRARIES = ("/usr/lib", "/usr/local/lib", "/usr/lib64")
IN_HAND: LiteralString = """
    select extract(epoch from leased_until - clock_timestamp())::float8 as left_seconds from learning_submission_jobs
    where status = 'leased' and lease_key::text not like '00000000%%'
"""
HELD_BY_ANOTHER: LiteralString = """
    update learning_submission_jobs
    set status = 'leased', lease_key = '00000000-0000-4000-8000-000000000000',
        leased_until = clock_timestamp() + make_interval(secs => 2)
    where submission_id = %s returning leased_until
"""
RUN_OUT: LiteralString = "update learning_submission_jobs set leased_until = clock_timestamp() where status = 'leased'"


def python_shim(seconds: int) -> dict[str, Value]:
    """Environment in which Python reads a shifted clock."""
    path = f"{Path(__file__).parent / 'clock_shim'}:{PROJECT_ROOT}"
    return {"pythonpath": path, "clock_shift_seconds": seconds}


def faketime(seconds: int) -> dict[str, Value]:
    """Environment in which all code reads a shifted clock, including libpq and OpenSSL."""
    found = [path for root in LIBRARIES for path in Path(root).glob("**/faketime/libfaketime.so.1")]
    if not found:
        pytest.skip("apt-get install libfaketime")
    return {"ld_preload": found[0], "faketime": f"{seconds:+d}", "dont_fake_monotonic": 1, "faketime_dont_fake_monotonic": 1}


@pytest.mark.parametrize("shifted", [python_shim, pytest.param(faketime, marks=pytest.mark.second_tier)])
def test_clocks_two_hours_apart(site: Site, shifted: Callable[[int], dict[str, Value]]) -> None:
    """Leases are as long as ever, nothing is taken before its time or left after it, and no job runs twice."""
    texts = site.enter_texts(8)
    delayed, held = site.enter_texts(2)
    due_at = site.delay(delayed, 2)
    free_at = site.one(HELD_BY_ANOTHER, held)["leased_until"]
    fleets = [start(site, name, shifted(seconds)) for name, seconds in (("early", -HOUR_SECONDS), ("late", HOUR_SECONDS))]
    for fleet in fleets:
        fleet.until_busy("feedback", 2)
    left = [row["left_seconds"] for row in site.all(IN_HAND)]
    assert len(left) == 4
    assert all(0 < seconds < HOUR_SECONDS / 10 for seconds in left)
    (site.directory / "gate").touch()
    site.until_done_once([*texts, delayed, held])
    assert len(site.leases(*texts, delayed)) == 9
    assert site.leases(delayed)[0]["at"] >= due_at
    _by_another, ours = site.leases(held)
    assert ours["at"] >= free_at
    now = site.one("select clock_timestamp() as now")["now"]
    assert all(abs(now - site.submission(each)["completed_at"]) < timedelta(minutes=10) for each in texts)
    early, late = (datetime.fromisoformat(fleet.logged("started")[0]["at"]) for fleet in fleets)
    assert early < now - timedelta(minutes=50) < now + timedelta(minutes=50) < late  # the shift was real


def start(site: Site, name: str, clock: dict[str, Value]) -> LiveFleet:
    adapters = {"ai_backend": "stub", "learning_feedback_adapter": "testkit.adapters.gated"}
    place = {"gate": site.directory / "gate", "runtime_directory": site.directory / name}
    return site.start_with({**adapters, **place, "worker_concurrency": 2, **clock})


@pytest.mark.parametrize(
    ("frozen_part", "lease"),
    [
        ("a worker", "cut short"),
        ("an instance", "cut short"),
        pytest.param("an instance", "slept through", marks=pytest.mark.second_tier),
    ],
)
def test_a_process_frozen_past_its_leases_writes_nothing(site: Site, frozen_part: str, lease: str) -> None:
    """During model calls a worker, or a whole instance, is stopped until other workers have leased its jobs."""
    limit_seconds = 13 if lease == "slept through" else 60
    short = {"worker_lease_seconds": 5, "ai_timeout_feedback": 5, "terminate_grace_seconds": 0.1}
    scene = set_scene(site, (), **short, ai_foreign_timeout_seconds=limit_seconds)
    frozen = scene.fleet.living() if frozen_part == "an instance" else [psutil.Process(scene.pids[0])]
    for process in frozen:
        process.suspend()
    if lease == "cut short":
        site.owner.execute(RUN_OUT)
    until(lambda: site.one(ALL_RAN_OUT)["it"])
    place: dict[str, Value] = {
        "runtime_directory": site.directory / "other",
        "gate": site.directory / "other gate",
        "ai_timeout_feedback": 60,
        "ai_foreign_timeout_seconds": 60,
    }
    other = site.start_with({**scene.settings, **place})
    other.until_busy("feedback", 2)
    scene.answer()
    for process in frozen:
        process.resume()
    until(lambda: len(lost(scene)) + len(scene.fleet.logged("exited")) >= 2)  # after so long its supervisor may be quicker
    assert len(lost(scene)) == 2 or lease == "slept through"
    (site.directory / "other gate").touch()
    site.until_done_once(scene.entered)
    scene.fleet.until_idle()
    assert {each["outcome"] for each in other.logged("settled")} == {"completed"}
    assert other.logged("exited") == []


def test_work_of_another_host_during_a_suspension_is_not_counted_as_ours(site: Site) -> None:
    """The monotonic clock stands still in a suspension, and the reply after it is lost with the connection. The job's row is
    gone, because another host has finished the job: the result is told and counted as dropped, not as completed here.
    """
    suspended, elsewhere = site.directory / "suspended", site.directory / "other gate"
    with proxy_before(site.database.worker_dsn) as wire:
        clock: dict[str, Value] = {"suspended_seconds": suspended, **python_shim(0)}
        scene = set_scene(site, (), learning_database_url=wire.dsn, **clock)
        site.owner.execute(RUN_OUT)
        until(lambda: site.one(ALL_RAN_OUT)["it"])
        elsewhere.touch()
        place: dict[str, Value] = {"runtime_directory": site.directory / "other", "gate": elsewhere}
        site.start_with({**scene.settings, **place, "learning_database_url": site.database.worker_dsn})
        site.until_done_once(scene.entered)
        suspended.write_text(str(HOUR_SECONDS))
        wire.lose_answer_to("learning_worker_update_completed")
        scene.answer()
        until(lambda: len(scene.fleet.logged("settled")) == WORKERS)
        assert scene.fleet.logged("connection_lost") != []
        assert [each["outcome"] for each in scene.fleet.logged("settled")] == ["lease_lost"] * WORKERS
        scene.until_dropped(WORKERS)
        assert scene.fleet.stop() == 0


def test_jobs_of_a_clock_that_was_ahead_are_told(site: Site) -> None:
    """The clock of the database was an hour ahead and is right again: the jobs that were entered meanwhile wait for an hour.
    `status` and the metric say so, and the other submissions go on.
    """
    waiting = site.enter_texts(2)
    site.owner.execute(
        "update learning_submission_jobs set created_at = created_at + interval '1 hour',"
        " updated_at = updated_at + interval '1 hour', visible_at = visible_at + interval '1 hour'"
    )
    fleet = site.start()
    fleet.until_idle()
    told = "2 jobs cannot start yet, because the clock of the database was ahead"
    until(lambda: fleet.status()["message"].startswith(told))
    assert fleet.status()["state"] == "degraded"
    assert fleet.metrics()["learning_queue_jobs_ahead"] == 2
    site.until_done([site.enter_text()])
    site.owner.execute("update learning_submission_jobs set visible_at = now()")
    site.until_done(waiting)
    fleet.until_state("ok")


def lost(scene: Scene) -> list[str]:
    """The jobs whose answers this fleet has dropped."""
    return [each["job"] for each in scene.fleet.logged("settled") if each["outcome"] == "lease_lost"]
