"""Nothing stands still under `All is well`: each way to stand still is reported, and ends by itself where it can.

The supervisors of most tests have short steps. Their constants are changed before the program starts.
"""

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from supervisor.monitor.progress import QUIET_SECONDS
from testkit.live_fleet import LiveFleet, kill_all
from testkit.outage import set_scene
from testkit.site import FEEDBACK_MODEL, Site, Value
from testkit.supervisor_process import run_command
from testkit.waiting import until
from worker.ollama.address import server_name
from worker.queue.permits import Permits

ATTENTION = 1
SHORT_STEPS = """
import runpy, sys
from worker import timeouts
timeouts.READ_DEADLINE_SECONDS = timeouts.RENDER_SECONDS = timeouts.DEADLINE_SLACK_SECONDS = 1.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SHORT: dict[str, Value] = {"ai_timeout_vision": 1, "ai_timeout_feedback": 1, "terminate_grace_seconds": 2}
MONITOR_SESSION: LiteralString = """
    select max(pid) as pid from pg_stat_activity
    where application_name like 'learning-supervisor monitor %%' and datname = current_database()
"""
LEAK_ONE_PERMIT: LiteralString = """
    create table leak (key int);
    insert into leak values ({key});
    create function leak_one() returns trigger language plpgsql security definer as $$
    declare leaked int;
    begin
        delete from leak returning key into leaked;
        if leaked is not null then perform pg_advisory_lock(leaked, 1); end if;
        return new;
    end $$;
    create trigger leak before update on learning_submission_jobs for each row execute function leak_one();
"""


def start_with_short_steps(site: Site, **settings: Value) -> LiveFleet:
    return site.start_with({**SHORT, **settings}, wrapper=(sys.executable, "-c", SHORT_STEPS))


def until_told(fleet: LiveFleet, state: str, words: str) -> str:
    """Wait until the status has this state and these words, and return its message."""

    def told() -> str:
        now = fleet.status()
        return now["message"] if now["state"] == state and words in now["message"] else ""

    return until(told, what=words)


def run_status(site: Site) -> tuple[int, str]:
    """Return the exit code and the output of the command."""
    result = run_command(site.directory, {"RUNTIME_DIRECTORY": str(site.directory / "run")}, "status")
    return result.returncode, result.stdout


def permit_key(site: Site) -> int:
    return Permits.of(server_name(site.ollama_url), FEEDBACK_MODEL, 1).key


@contextmanager
def permit_of_another_session(site: Site) -> Iterator[psycopg.Connection]:
    """The only permit of the feedback model in the hands of a session that makes no call."""
    with psycopg.connect(site.database.admin_dsn, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s::int, 1)", (permit_key(site),))
        yield other


def test_a_stopped_supervisor_with_dead_workers(site: Site) -> None:
    """Five jobs wait, all workers are dead, and the supervisor replaces none: down, code 1, 503, and well after SIGCONT."""
    scene = set_scene(site)
    scene.fleet.process.send_signal(signal.SIGSTOP)
    kill_all(scene.pids)
    message = until_told(scene.fleet, "down", "does not react")
    assert f"kill -CONT {scene.fleet.pid}" in message
    assert (scene.fleet.get("/healthz").status_code, run_status(site)[0]) == (503, ATTENTION)
    assert scene.fleet.metrics()['learning_status{state="down"}'] == 1
    scene.fleet.process.send_signal(signal.SIGCONT)
    scene.answer()
    site.until_done(scene.entered)
    scene.fleet.until_state("ok")


@pytest.mark.second_tier
def test_all_workers_wait_for_a_permit_of_another_session(site: Site) -> None:
    """Told since when and for what, the waiting workers are replaced without a crash, and all goes on when the permit is free.

    A wait that is renewed each second has the age of the whole wait.
    """
    with permit_of_another_session(site):
        fleet = start_with_short_steps(site, worker_concurrency=3, ollama_num_parallel=1)
        entered = site.enter_texts(3)
        fleet.until_busy("permit", 3)
        until(lambda: max(worker["activity_seconds"] or 0 for worker in fleet.workers()) > 2)
        message = until_told(fleet, "down", "another session holds the permits of the model (server process ")
        assert "Nothing has moved forward, for " in message
        assert "waiting for a permit" in message
        assert run_status(site)[0] == ATTENTION
        replaced = until(lambda: [line for line in fleet.logged("terminate") if line["why"].startswith("waited for a permit")])
        assert {line["slot"] for line in replaced} == {"0", "1", "2"}
        assert fleet.logged("standstill") != []
    site.until_done_once(entered)
    fleet.until_state("ok")
    assert {line["cause"] for line in fleet.logged("exited")} == {"asked"}
    fleet.until_logged("progress_again")
    assert fleet.metrics()['ai_worker_retry_total{phase="feedback"}'] == 0


@pytest.mark.second_tier
def test_a_waiting_job_that_another_program_has_locked(site: Site) -> None:
    """Every lease passes it over. The status names the lock, and the job is done when it is released."""
    entered = site.enter_texts(1)
    with psycopg.connect(site.database.admin_dsn) as holder:
        holder.execute("select from learning_submission_jobs where submission_id = %s for update", entered)
        fleet = start_with_short_steps(site, worker_concurrency=2)
        until_told(fleet, "down", "another program holds a lock on their rows in the database")
    site.until_done_once(entered)
    fleet.until_state("ok")


def test_a_permit_that_a_worker_holds_without_its_knowledge_comes_back(site: Site) -> None:
    """The session of one worker keeps the only permit. Every job is done all the same, without a restart by hand."""
    site.owner.execute(sql.SQL(LEAK_ONE_PERMIT).format(key=sql.Literal(permit_key(site))))
    fleet = start_with_short_steps(site, worker_concurrency=4, ollama_num_parallel=1)
    fleet.until_idle()
    entered = site.enter_texts(8)
    site.until_done_once(entered)
    fleet.until_state("ok")


def test_a_wedged_model_is_told_before_its_calls_time_out(site: Site) -> None:
    """Calls to a model that was fast get no token: degraded after ten seconds, long before the deadline of a minute."""
    fleet = site.start(worker_concurrency=2, ai_timeout_feedback=60)
    site.until_done(site.enter_texts(2))
    site.simulator.fault("wedge", FEEDBACK_MODEL)
    site.enter_texts(2)
    message = until_told(fleet, "degraded", f"{FEEDBACK_MODEL} has sent no token, for ")
    assert "restart Ollama" in message
    assert run_status(site)[0] == ATTENTION
    fleet.until_logged("standstill")  # by the next sample, and `status` is made at once
    (line,) = fleet.logged("standstill")
    assert (line["model"], line["level"]) == (FEEDBACK_MODEL, "WARNING")


def test_a_stopped_worker_is_not_a_silent_model(site: Site) -> None:
    """Named as stopped by the next sample, also when its call is older than the fast model ever takes, and after SIGCONT."""
    fleet = site.start(ai_timeout_feedback=60)
    site.until_done(site.enter_texts(2))
    site.simulator.fault("hang", FEEDBACK_MODEL)
    site.enter_text()
    (pid,) = fleet.until_busy("feedback")
    kill_all([pid], signal.SIGSTOP)
    message = until_told(fleet, "degraded", f"worker 0 (process {pid}).")
    assert "Suspended by a signal, for " in message
    assert f"`kill -CONT {pid}`" in message
    assert re.search(r" feedback \d+ s, suspended", run_status(site)[1])
    until(lambda: fleet.workers()[0]["activity_seconds"] > 1.2 * QUIET_SECONDS)
    assert f"process {pid}" in fleet.status()["message"]
    kill_all([pid], signal.SIGCONT)
    fleet.until_state("ok")
    assert fleet.logged("standstill") == []


@pytest.mark.second_tier
def test_jobs_that_fail_again_and_again_are_no_progress(site: Site) -> None:
    """Each job is leased, fails at once and is tried again without end: leases, permits and retries hide nothing."""
    failing: dict[str, Value] = {"ai_backend": "stub", "learning_feedback_adapter": "testkit.adapters.failing"}
    fleet = start_with_short_steps(site, worker_backoff_seconds=0, worker_max_retries=100, worker_concurrency=2, **failing)
    site.enter_texts(100)  # their retries last for longer than the longest step, also on a fast machine
    until_told(fleet, "down", "Nothing has moved forward")


@pytest.mark.second_tier
def test_jobs_that_wait_while_every_worker_idles(site: Site) -> None:
    """Another session locks the rows, so no worker can take one: told, and the monitor connects again and wakes the workers."""
    entered = site.enter_texts(2)
    with psycopg.connect(site.database.admin_dsn) as other:
        other.execute("select from learning_submission_jobs for update")
        fleet = start_with_short_steps(site, worker_concurrency=2)
        fleet.until_idle()
        before = site.one(MONITOR_SESSION)["pid"]
        until_told(fleet, "down", "2 workers: 2 without a job")
        fleet.until_logged("mend")
        until(lambda: site.one(MONITOR_SESSION)["pid"] not in {before, None})
    site.until_done_once(entered)
    fleet.until_state("ok")


@pytest.mark.second_tier
def test_all_idle_workers_are_suspended(site: Site) -> None:
    """No worker can take the jobs that arrive then. The workers are replaced as hung, and the jobs are done within a minute."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    pids = fleet.worker_pids()
    kill_all(pids, signal.SIGSTOP)
    entered = site.enter_texts(3)
    until(lambda: site.is_done(entered), within_seconds=55)
    assert {line["cause"] for line in fleet.logged("exited")} == {"hung"}
    fleet.until_replaced(pids)


@pytest.mark.second_tier
def test_each_slot_shows_the_age_of_its_step(site: Site) -> None:
    """In the table, in JSON and in the metrics, with the age of the last completed job."""
    scene = set_scene(site)
    until(lambda: min(worker["activity_seconds"] for worker in scene.fleet.workers()) > 1)
    assert re.search(r" feedback \d+ s", run_status(site)[1])
    assert scene.fleet.metrics()['learning_worker_step_seconds{slot="0"}'] > 1
    assert "learning_success_age_seconds" not in scene.fleet.metrics()
    scene.answer()
    site.until_done(scene.entered)
    until(lambda: re.search(r"0 in work, 0 failed, last completed \d+ s ago", run_status(site)[1]))
    assert scene.fleet.status()["progress"]["completed_age_seconds"] is not None
    assert scene.fleet.metrics()["learning_success_age_seconds"] >= 0
