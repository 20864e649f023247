"""Deaths with several suspects: the model's process with several calls, and a worker that had not asked a model yet."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from testkit.live_fleet import LiveFleet
from testkit.site import FEEDBACK_MODEL, Site, Value
from testkit.waiting import until

pytestmark = pytest.mark.postgres

LONG_SECONDS = 120.0  # some waits of held jobs, or the deadline of a read
RETRIES = 'ai_worker_retry_total{phase="feedback"}'


@pytest.fixture
def silent_store() -> Iterator[dict[str, Value]]:
    """Settings of an object store that accepts connections and never answers, so that a worker reads for eight seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield {"storage_verify_root": "", "supabase_url": address, "supabase_service_role_key": "key", "worker_concurrency": 1}


def test_a_text_that_kills_the_runner_harms_no_neighbour(site: Site) -> None:
    """Calls that died together use no attempt. The text that kills is asked again alone, is convicted, and fails alone."""
    site.simulator.fault("kill_runner", FEEDBACK_MODEL, times=100, containing="xyzzy")
    site.simulator.fault("slow", FEEDBACK_MODEL, seconds=0.5, times=3)
    neighbours = [site.enter_text(f"{number} and {number}") for number in range(3)]
    fleet = site.start(worker_concurrency=4, worker_max_retries=0)
    killer = site.enter_text("the word is xyzzy")
    until(lambda: site.is_done([*neighbours, killer]), LONG_SECONDS)
    assert [site.submission(each)["analysis_status"] for each in neighbours] == ["completed"] * 3
    assert site.submission(killer)["error_code"] == "feedback_failed"
    assert fleet.metrics()[RETRIES] == 0
    assert {line["outcome"] for line in fleet.logged("step_failed")} == {"suspect"}


def reclaimed(fleet: LiveFleet, times: int) -> list[str]:
    """The verdicts of the first deaths: True if they are counted against the job."""
    fleet.until_logged("lease_reclaimed", times)
    return [line["counted"] for line in fleet.logged("reclaim_lease")][:times]


def test_a_first_death_before_a_model_was_asked_is_not_counted(site: Site, silent_store: dict[str, Value]) -> None:
    """The first crash while a file is fetched is not the job's, the second one is."""
    (photo,) = site.enter_photos()
    fleet = site.start_with(silent_store)
    for times in (1, 2):
        (pid,) = fleet.until_busy("read")
        os.kill(pid, signal.SIGKILL)
        assert reclaimed(fleet, times) == ["False", "True"][:times]
    assert site.job(photo)["payload"]["crashes"] == 1


@pytest.mark.second_tier
def test_a_hang_before_a_model_was_asked_is_never_counted(site: Site, silent_store: dict[str, Value]) -> None:
    """A worker that hangs while a file is fetched, as on a dead mount, is replaced, and the job is as before."""
    (photo,) = site.enter_photos()
    fleet = site.start_with({**silent_store, "terminate_grace_seconds": 0.1})
    for times in (1, 2):
        (pid,) = fleet.until_busy("read")
        os.kill(pid, signal.SIGSTOP)
        until(lambda: len(fleet.logged("lease_reclaimed")) >= times, LONG_SECONDS)  # noqa: B023  asked at once
        assert reclaimed(fleet, times) == ["False"] * times
    assert "crashes" not in site.job(photo)["payload"]
