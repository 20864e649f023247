"""Several supervisors, one after the other or side by side: a dead one's leases are free at once, and no job runs twice."""

import os
import signal
from typing import LiteralString

import pytest

from testkit.live_fleet import LiveFleet
from testkit.site import FEEDBACK_MODEL, LONGEST_CALL_SECONDS, VISION_MODEL, Site
from testkit.waiting import until

pytestmark = pytest.mark.postgres

SOON_SECONDS = 5.0
LONG_LEASE_SECONDS = 600  # no test waits for its end
RARELY_SECONDS = 60  # the longest poll: no test waits for it
ADAPTERS = "testkit.adapters."
GATE: LiteralString = """
    create table gate as select true as is_closed;
    create function wait_at_gate() returns trigger security definer language plpgsql as
    $$ begin
        while (select is_closed from gate) loop perform pg_sleep(0.01); end loop;
        return new;
    end $$;
    create trigger wait_at_gate before update on learning_submission_jobs
    for each row when (new.status = 'leased') execute function wait_at_gate()
"""
IS_AT_GATE: LiteralString = """
    select exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep') as it
"""


def start_in_jobs(site: Site, workers: int) -> LiveFleet:
    """Each worker waits for an answer which never comes, with a long lease."""
    site.simulator.fault("hang", FEEDBACK_MODEL, times=workers)
    site.enter_texts(workers)
    fleet = site.start(
        worker_concurrency=workers, worker_lease_seconds=LONG_LEASE_SECONDS, ai_timeout_feedback=LONGEST_CALL_SECONDS
    )
    site.until_in_call(fleet, FEEDBACK_MODEL, workers)
    return fleet


def assert_ended_once(site: Site, expiries: int) -> None:
    """Each job with one result, and with so many deaths of its supervisor."""
    entered = [row["id"] for row in site.all("select id from learning_submissions")]
    site.until_done_once(entered)
    assert len(site.leases(*entered)) == len(entered) * (1 + expiries)


def test_children_do_not_outlive_their_supervisor(site: Site) -> None:
    """After SIGKILL of the supervisor, workers in a job, a stopped one and the monitor are gone all the same."""
    fleet = start_in_jobs(site, 3)
    os.kill(fleet.worker_pids()[0], signal.SIGSTOP)
    assert len(fleet.living()) == 5
    fleet.kill()
    until(lambda: not fleet.living(), SOON_SECONDS)


def test_children_of_adapters_do_not_outlive_the_supervisor(site: Site) -> None:
    """A grandchild in a worker's process group dies with the supervisor, though its own parent is long gone, or it is stopped."""
    fleet = site.start(worker_concurrency=2, ai_backend="stub", learning_feedback_adapter=ADAPTERS + "fertile")
    fleet.until_idle()
    forked = [process for process in fleet.living() if process.name() == "sleep"]
    forked[0].suspend()
    os.kill(fleet.worker_pids()[1], signal.SIGSTOP)
    assert (len(forked), len(fleet.living())) == (2, 6)
    fleet.kill()
    until(lambda: not fleet.living(), SOON_SECONDS)


@pytest.mark.second_tier
def test_a_job_that_kills_five_supervisors_is_quarantined(site: Site) -> None:
    """Five supervisors die in the same job before they count it. The next one finds five expiries and fails the submission."""
    site.simulator.fault("hang", FEEDBACK_MODEL, times=5)
    text = site.enter_text()
    for _ in range(5):
        fleet = site.start(worker_lease_seconds=LONG_LEASE_SECONDS)
        site.until_in_call(fleet, FEEDBACK_MODEL)
        fleet.kill()
        until(lambda: site.simulator.state()["models"][FEEDBACK_MODEL]["running"] == 0)
    last = site.start()
    site.until_done_once([text])
    job = site.job(text)
    assert (job["status"], job["error_code"], job["payload"]["quarantined"]) == ("failed", "worker_crashed", {"expiries": 5})
    assert site.submission(text)["analysis_status"] == "failed"
    site.until_done(site.enter_texts(2))
    assert last.logged("exited") == []


def test_a_suspended_worker_writes_nothing_after_a_takeover(site: Site) -> None:
    """Supervisor and worker are suspended, the lease ends, another host does the job. The worker resumes too late and writes
    nothing.
    """
    site.simulator.fault("slow", FEEDBACK_MODEL, seconds=1)
    text = site.enter_text()
    sleeper = site.start(runtime_directory=site.directory / "one")
    (worker,) = site.until_in_call(sleeper, FEEDBACK_MODEL)
    for pid in (sleeper.pid, worker):
        os.kill(pid, signal.SIGSTOP)
    site.owner.execute("update learning_submission_jobs set leased_until = now()")
    site.start(runtime_directory=site.directory / "two")
    site.until_done_once([text])
    os.kill(worker, signal.SIGCONT)
    sleeper.until_logged("settled")
    assert [each["outcome"] for each in sleeper.logged("settled")] == ["lease_lost"]
    os.kill(sleeper.pid, signal.SIGCONT)
    assert sleeper.stop() == 0
    assert site.results() == [text]


def test_the_next_supervisor_reclaims_leases_of_a_dead_one(site: Site) -> None:
    """It finds the leases by the instance lock that is free, counts an expiry for each, and each job ends once."""
    site.simulator.fault("hang", FEEDBACK_MODEL, times=2)
    dead = start_in_jobs(site, 2)
    number = f"{dead.instance():08x}"
    dead.kill()
    heir = site.start(worker_concurrency=2, ai_timeout_feedback=LONGEST_CALL_SECONDS)
    site.until_in_call(heir, FEEDBACK_MODEL, 2)
    assert [job["payload"]["expiries"] for job in site.jobs()] == [1, 1]
    assert {each["instance"] for each in heir.logged("dead_instance_lease")} == {number}
    assert not (heir.runtime_directory / f"{number}.sock").exists()
    heir.kill()
    site.start(worker_concurrency=2)
    assert_ended_once(site, expiries=2)


@pytest.mark.second_tier
def test_a_locked_row_of_a_dead_supervisor_does_not_block_polling(site: Site) -> None:
    """While a row of a dead supervisor is locked, the next one still polls the queue, and frees the row afterwards."""
    dead = start_in_jobs(site, 1)
    dead.kill()
    (held,) = site.jobs()
    with site.owner.transaction():
        site.one("select id from learning_submission_jobs where id = %s for update", held["id"])
        heir = site.start(worker_poll_interval=RARELY_SECONDS)
        heir.until_idle()
        text = site.enter_text()
        until(lambda: site.leases(text))
        assert heir.logged("connection_lost") == []
    site.until_done_once([held["submission_id"], text])
    assert len(heir.logged("dead_instance_lease")) == 1


def test_a_running_supervisor_reclaims_leases_of_a_dead_one(site: Site) -> None:
    """Of two supervisors on the same runtime directory, the survivor takes the jobs over without a restart."""
    dead = start_in_jobs(site, 2)
    survivor = site.start(worker_concurrency=2)
    survivor.until_idle()
    dead.kill()
    assert_ended_once(site, expiries=1)
    assert len(survivor.logged("dead_instance_lease")) == 2


def test_a_lease_that_commits_after_its_supervisor_s_death_is_found(site: Site) -> None:
    """Behind a pooler the server does not notice a death, and the lease statement goes on. It commits after the survivor has
    searched, and the next search finds it.
    """
    site.owner.execute(GATE)
    survivor = site.start()
    survivor.until_idle()
    os.kill(stopped := survivor.worker_pids()[0], signal.SIGSTOP)
    dead = site.start(database_pooled="true", worker_lease_seconds=LONG_LEASE_SECONDS)
    dead.until_busy("idle")
    socket = dead.runtime_directory / f"{dead.instance():08x}.sock"
    text = site.enter_text()
    until(lambda: site.one(IS_AT_GATE)["it"])
    dead.kill()
    until(lambda: not socket.exists())
    assert survivor.logged("dead_instance_lease") == []
    site.owner.execute("update gate set is_closed = false")
    survivor.until_logged("dead_instance_lease")
    os.kill(stopped, signal.SIGCONT)
    site.until_done_once([text])
    assert len(site.leases(text)) == 2


def test_a_stopped_worker_of_a_dead_supervisor_holds_no_lease(site: Site) -> None:
    """A stopped worker dies with its supervisor, and its job is taken over like any other."""
    dead = start_in_jobs(site, 1)
    os.kill(dead.worker_pids()[0], signal.SIGSTOP)
    survivor = site.start()
    survivor.until_idle()
    dead.kill()
    assert_ended_once(site, expiries=1)


@pytest.mark.second_tier
def test_leases_of_a_live_supervisor_are_kept(site: Site) -> None:
    """A newcomer on the same runtime directory frees nothing of an instance whose lock is held, only of the dead."""
    elder = start_in_jobs(site, 1)
    long_dead = elder.runtime_directory / "0badcafe.instance"
    long_dead.write_bytes((elder.runtime_directory / f"{elder.instance():08x}.instance").read_bytes())
    (socket := long_dead.with_suffix(".sock")).touch()
    newcomer = site.start()
    until(lambda: not socket.exists())
    newcomer.until_idle()
    (job,) = site.jobs()
    assert (job["status"], job["payload"].get("expiries")) == ("leased", None)


def test_two_supervisors_do_each_job_once(site: Site) -> None:
    """Two times two workers on forty texts: every one is completed, none twice, and both had their share."""
    both = [site.start(worker_concurrency=2, runtime_directory=site.directory / host) for host in ("one", "two")]
    for fleet in both:
        fleet.until_idle()
    entered = site.enter_texts(40)
    site.until_done_once(entered)
    assert len(site.leases(*entered)) == 40
    for fleet in both:
        assert sum(worker["totals"]["completed"] for worker in fleet.workers()) > 0


def test_permits_hold_across_supervisors(site: Site) -> None:
    """One call at a time is allowed: with four workers in two instances no model ever sees two at once."""
    fleets = [site.start(worker_concurrency=2, ollama_num_parallel=1) for _ in range(2)]
    for fleet in fleets:
        fleet.until_idle()
    site.until_done_once([*site.enter_texts(10), *site.enter_photos(4)])
    models = site.simulator.state()["models"]
    assert {models[name]["max_in_flight"] for name in (VISION_MODEL, FEEDBACK_MODEL)} == {1}
