"""An instance that does nothing is reported by the other instances of the queue, long before its leases end."""

import pytest

from testkit.live_fleet import LiveFleet
from testkit.site import FEEDBACK_MODEL, LONGEST_CALL_SECONDS, Site
from testkit.waiting import until

pytestmark = pytest.mark.postgres

LONG_LEASE_SECONDS = 600  # no test waits for its end
NOTICED_SECONDS = 60  # 15 s without a statement, and a search each 5 s
SURVEYED_SECONDS = 7  # after which a monitor has searched at least twice


def start_in_a_job(site: Site) -> LiveFleet:
    """One worker waits for an answer which never comes. The directory is its own, as on another host."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    site.enter_text()
    fleet = site.start(
        runtime_directory=site.directory / "far",
        worker_lease_seconds=LONG_LEASE_SECONDS,
        ai_timeout_feedback=LONGEST_CALL_SECONDS,
    )
    site.until_in_call(fleet, FEEDBACK_MODEL)
    return fleet


def until_reported(observer: LiveFleet, silent: str) -> None:
    def is_reported() -> bool:
        status = observer.status()
        (instance,) = status["silent_instances"] or [{"instance": "", "jobs": 0}]
        is_named = status["message"].startswith(f"Instance {silent} ") and "1 job in work" in status["message"]
        return status["state"] == "degraded" and is_named and (instance["instance"], instance["jobs"]) == (silent, 1)

    until(is_reported, within_seconds=NOTICED_SECONDS)


@pytest.mark.second_tier
def test_a_frozen_instance_is_reported_by_another_one(site: Site) -> None:
    """All its processes are stopped: degraded with its number, its job and since when, and well after SIGCONT."""
    far = start_in_a_job(site)
    observer = site.start()
    observer.until_state("ok")
    frozen, number = far.living(), f"{far.instance():08x}"
    for process in frozen:
        process.suspend()
    until_reported(observer, number)
    assert " has not been heard of, for " in observer.status()["message"]
    for process in frozen:
        process.resume()
    observer.until_state("ok")
    assert observer.status()["silent_instances"] == []


@pytest.mark.second_tier
def test_an_instance_without_a_session_is_reported_until_its_leases_end(site: Site) -> None:
    """It was killed on another host, where nothing reclaims its lease: the server has no session of it any more."""
    far = start_in_a_job(site)
    number, observer = f"{far.instance():08x}", site.start()
    until(lambda: observer.status()["monitor"]["since_seconds"] > SURVEYED_SECONDS)
    far.kill()
    until_reported(observer, number)
    site.owner.execute("update learning_submission_jobs set leased_until = now()")
    observer.until_state("ok")
