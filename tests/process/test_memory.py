"""Memory of real workers: a leak is replaced after its job, endless growth is killed, and a single spike is left alone."""

import os
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from testkit.adapters.hungry import RELEASE
from testkit.live_fleet import LiveFleet
from testkit.site import Site, Value
from testkit.waiting import until

HUNGRY = "testkit.adapters.hungry"
MEBIBYTE = 2**20
SOFT_MEBIBYTES, HARD_MEBIBYTES = 40, 400  # the first is less than a worker has from its fork
NEVER_SECONDS = 3600
LONG_SECONDS = 120.0  # some waits of a held job
OWN_MOUNTS = ("unshare", "--mount") if os.getuid() == 0 else ("unshare", "--map-root-user", "--mount")


def start_hungry(site: Site, workers: int = 1, **settings: float) -> LiveFleet:
    """A fleet at rest with small limits, in which young workers may be replaced as well."""
    limits: dict[str, Value] = {
        "worker_concurrency": workers,
        "ai_backend": "stub",
        "learning_feedback_adapter": HUNGRY,
        "worker_memory_soft_bytes": SOFT_MEBIBYTES * MEBIBYTE,
        "worker_memory_hard_bytes": HARD_MEBIBYTES * MEBIBYTE,
        "worker_minimum_lifetime_seconds": 0,
    }
    fleet = site.start_with(limits | settings)
    fleet.until_idle()
    until(lambda: all(worker["rss_bytes"] for worker in fleet.workers()))
    return fleet


def rss_mebibytes(fleet: LiveFleet) -> float:
    return max((worker["rss_bytes"] or 0) / MEBIBYTE for worker in fleet.workers())


@pytest.mark.second_tier
def test_a_leaking_worker_is_replaced_between_two_jobs(site: Site) -> None:
    """Each job keeps 30 MiB: both workers are replaced again and again, one at a time, and no job is ever interrupted."""
    fleet = start_hungry(site, workers=2, worker_memory_hard_bytes=0)  # it may grow beyond any limit while it waits for its turn

    def leaked_and_replaced() -> bool:
        site.until_done([site.enter_text("leak 30") for _ in range(4)])
        return len(fleet.logged("retire")) >= 4

    until(leaked_and_replaced, 60)
    fleet.until_idle()
    assert {each["why"] for each in fleet.logged("retire")} == {"memory over the soft limit"}
    assert {(each["status"], each["cause"]) for each in fleet.logged("exited")} == {("exit 0", "asked")}
    entered = [row["id"] for row in site.all("select id from learning_submissions")]
    assert len(site.leases(*entered)) == len(site.results()) == len(entered)
    assert_one_at_a_time(fleet)


def assert_one_at_a_time(fleet: LiveFleet) -> None:
    """No other worker was asked to leave until the successor of the first had booted."""
    away: set[str] = set()
    for line in fleet.log():
        what, slot = line.split()[2], re.search(r"slot=(\d+)", line)
        if slot and what == "retire":
            assert not away
            away.add(slot[1])
        elif slot and what == "booted":
            away.discard(slot[1])


def test_a_young_worker_is_not_replaced_for_its_memory(site: Site) -> None:
    """A worker below the minimum lifetime stays, so that a limit below the need of every job causes no loop."""
    fleet = start_hungry(site, worker_minimum_lifetime_seconds=NEVER_SECONDS)
    site.until_done([site.enter_text("leak 150")])
    until(lambda: rss_mebibytes(fleet) > 150)
    site.until_done([site.enter_text("nothing")])
    assert fleet.logged("retire") == []


def test_a_peak_that_is_over_replaces_no_worker(site: Site) -> None:
    """A job that takes and frees memory far over the soft limit costs no worker. The present value counts, not the peak."""
    fleet = start_hungry(site)
    text = site.enter_text("spike 200")
    until(lambda: rss_mebibytes(fleet) > 200)
    (site.directory / RELEASE).touch()
    site.until_done([text])
    until(lambda: rss_mebibytes(fleet) < 200)
    site.until_done([site.enter_text("nothing")])
    assert (fleet.logged("retire"), fleet.logged("exited")) == ([], [])


def test_one_gigabyte_a_second_is_stopped_at_the_hard_limit(site: Site) -> None:
    """The worker is killed, the death is counted as `memory` and against its job, and others flow meanwhile."""
    fleet = start_hungry(site, workers=2)
    greedy, *others = [site.enter_text(f"grow {HARD_MEBIBYTES - 10}"), *site.enter_texts(4)]
    site.until_done_once([greedy, *others])
    assert {each["why"] for each in fleet.logged("kill")} == {"memory over the hard limit"}
    assert [each["cause"] for each in fleet.logged("exited")] == ["memory"] * 2
    job = site.job(greedy)
    assert (job["error_code"], job["payload"]["quarantined"]) == ("worker_crashed", {"crashes": 2})
    assert fleet.metrics()['learning_worker_crashes_total{cause="memory"}'] == 2


@pytest.mark.second_tier
def test_growth_between_two_samples_is_stopped_by_the_kernel(site: Site) -> None:
    """However fast, a worker never holds much more than the limit: its own allocation fails, or the supervisor is faster.

    A failed allocation may be the fault of the surroundings, so it is held against the job once other jobs were answered.
    """
    fleet = start_hungry(site, workers=2, worker_max_retries=0)
    greedy, others = site.enter_text("grow"), site.enter_texts(4)

    def is_over() -> bool:
        if site.is_done(others) and not site.is_done([greedy]):
            others.extend(site.enter_texts(1))
        return site.is_done([greedy, *others])

    until(is_over, LONG_SECONDS)
    assert site.submission(greedy)["analysis_status"] == "failed"
    assert {site.submission(other)["analysis_status"] for other in others} == {"completed"}
    assert fleet.process.poll() is None


def test_rlimit_data_is_above_the_hard_limit(site: Site) -> None:
    """RLIMIT_DATA of each worker is the hard limit plus its size at the fork. Monitor and supervisor have none."""
    fleet = start_hungry(site, workers=2)
    limits = [psutil.Process(pid).rlimit(psutil.RLIMIT_DATA)[0] / MEBIBYTE for pid in fleet.worker_pids()]
    assert all(HARD_MEBIBYTES < limit < HARD_MEBIBYTES + 200 for limit in limits)
    others = {psutil.Process(pid).rlimit(psutil.RLIMIT_DATA)[0] for pid in (fleet.pid, fleet.monitor_pid())}
    assert others == {psutil.RLIM_INFINITY}


@pytest.mark.second_tier
def test_a_worker_s_own_memory_is_shown(site: Site) -> None:
    """A worker's private memory grows by what a job keeps, and is in the status and the metrics."""
    fleet = start_hungry(site, worker_memory_soft_bytes=0)
    before = fleet.workers()[0]["uss_bytes"]
    assert 0 < before < fleet.workers()[0]["rss_bytes"]

    def has_grown() -> bool:
        site.until_done([site.enter_text("leak 20")])
        grown: int = fleet.workers()[0]["uss_bytes"]
        return grown > int(before) + 20 * MEBIBYTE

    until(has_grown)
    metrics = fleet.metrics()
    assert metrics['learning_worker_uss_bytes{slot="0"}'] > before
    assert metrics['learning_worker_rss_bytes{slot="0"}'] > metrics['learning_worker_uss_bytes{slot="0"}']


# The kernel's OOM killer


def group_mount() -> tuple[str, str] | None:
    """Mount point of the host's version 2 control groups, and our own group."""
    mount = re.search(r"^(?:\S+ ){4}(\S+) .*- cgroup2 ", Path("/proc/self/mountinfo").read_text(), re.MULTILINE)
    group = re.search(r"^0::(/.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    return (mount[1], group[1]) if mount and group else None


def may_mount() -> bool:
    return subprocess.run([*OWN_MOUNTS, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount() or group_mount() is None, reason="needs a mount namespace and a mount of cgroup2")
def test_a_kill_by_the_kernel_has_the_cause_oom(site: Site) -> None:
    """A SIGKILL after which memory.events counts one more kill is `oom`. The next one without is a `signal`."""
    mount, group = group_mount() or ("", "")
    events = recorded_events(site.directory / "groups" / group.lstrip("/"))
    behind = (*OWN_MOUNTS, "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', str(site.directory / "groups"), mount)
    fleet = site.start(wrapper=behind)
    for oom_kills, cause in ((1, "oom"), (1, "signal")):
        fleet.until_idle()
        (victim,) = fleet.worker_pids()
        events.write_text(f"low 0\nhigh 7\nmax 31\noom 1\noom_kill {oom_kills}\noom_group_kill 0\n")
        os.kill(victim, signal.SIGKILL)
        fleet.until_replaced([victim])
        assert fleet.logged("exited")[-1]["cause"] == cause
    assert fleet.metrics()['learning_worker_crashes_total{cause="oom"}'] == 1


def recorded_events(group: Path) -> Path:
    """Counters of a kernel 6.1 at their start."""
    group.mkdir(parents=True)
    events = group / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n")
    return events


def test_the_kernel_takes_a_worker_before_the_supervisor(site: Site) -> None:
    """Every child has a higher oom_score_adj than the supervisor that would replace it."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    own, *children = (score(pid) for pid in (fleet.pid, *fleet.worker_pids(), fleet.monitor_pid()))
    assert min(children) > own


def score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
