"""Requests to stop: jobs are finished or released, no process is left, and the exit code shows the result."""

import os
import signal
import sys

from testkit.live_fleet import LiveFleet
from testkit.pg_proxy import proxy_before
from testkit.site import FEEDBACK_MODEL, LONGEST_CALL_SECONDS, VISION_MODEL, Site
from testkit.waiting import until
from worker.queue.statements import statement

CUT_SHORT = 75
NEVER_SECONDS = 600
RARELY_SECONDS = 60  # the longest poll: the lease statement is not yet prepared, so the proxy finds its text
SOON_SECONDS = 10.0  # far below the timeouts that must not be waited for
ADAPTERS = "testkit.adapters."
LEASE = statement("lease").partition("%(")[0]  # parameters have numbers on the wire
DEAF_PARENT = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGCHLD):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
"""


def start_in_a_job(site: Site, drain_timeout_seconds: float, drain_shortened_seconds: float = NEVER_SECONDS) -> LiveFleet:
    """One worker that waits for an answer which never comes, with a lease that does not end by itself either."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    site.enter_text()
    fleet = site.start(
        drain_timeout_seconds=drain_timeout_seconds,
        drain_shortened_seconds=drain_shortened_seconds,
        worker_lease_seconds=NEVER_SECONDS,
        ai_timeout_feedback=LONGEST_CALL_SECONDS,
    )
    site.until_in_call(fleet, FEEDBACK_MODEL)
    return fleet


def test_a_drain_finishes_the_jobs_in_work_and_takes_no_other(site: Site) -> None:
    """Both workers complete what they had, the rest of the queue is as it was, and the exit code is 0."""
    site.simulator.fault("slow", FEEDBACK_MODEL, times=2, seconds=1.5)
    entered = site.enter_texts(5)
    fleet = site.start(worker_concurrency=2)
    site.until_in_call(fleet, FEEDBACK_MODEL, 2)
    assert fleet.stop() == 0
    assert len(site.leases(*entered)) == len(site.results()) == 2
    assert [(job["status"], job["lease_key"]) for job in site.jobs()] == [("queued", None)] * 3
    assert {each["status"] for each in fleet.logged("exited")} == {"exit 0"}


def test_a_job_whose_next_step_would_take_too_long_is_released(site: Site) -> None:
    """The reading is kept, no attempt is burnt, and no death is counted."""
    site.simulator.fault("slow", VISION_MODEL, seconds=1.5)
    site.enter_photos()
    fleet = site.start(drain_timeout_seconds=10, ai_timeout_feedback=15)
    site.until_in_call(fleet, VISION_MODEL)
    assert fleet.stop() == 0
    (job,) = site.jobs()
    assert (job["status"], job["retry_count"], job["lease_key"]) == ("queued", 0, None)
    assert job["payload"]["cached_text_md"]
    assert "crashes" not in job["payload"]
    site.start()
    site.until_done([job["submission_id"]])
    assert site.vision_calls() == 1


def test_the_end_of_the_drain_kills_and_reclaims(site: Site) -> None:
    """A worker that has not finished in time is killed. Its lease is free before the supervisor exits, and no death is
    counted.
    """
    fleet = start_in_a_job(site, drain_timeout_seconds=1)
    assert fleet.stop() == CUT_SHORT
    assert_given_back(site)
    assert [each["why"] for each in fleet.logged("kill")] == ["drain took too long"]


def test_a_second_request_shortens_the_drain(site: Site) -> None:
    """At most the shortened time remains, however long the drain could have been."""
    fleet = start_in_a_job(site, NEVER_SECONDS, drain_shortened_seconds=1)
    fleet.terminate(times=2)
    assert fleet.exit_code(SOON_SECONDS) == CUT_SHORT
    assert_given_back(site)


def test_a_third_request_kills_at_once(site: Site) -> None:
    """The supervisor waits only for the leases."""
    fleet = start_in_a_job(site, NEVER_SECONDS)
    fleet.terminate(times=3)
    assert fleet.exit_code(SOON_SECONDS) == CUT_SHORT
    assert_given_back(site)
    assert [each["why"] for each in fleet.logged("kill")] == ["immediate stop"]


def assert_given_back(site: Site) -> None:
    (job,) = site.jobs()
    assert (job["status"], job["lease_key"], job["retry_count"]) == ("queued", None, 0)
    assert not {"crashes", "expiries"} & job["payload"].keys()


def test_a_request_during_boot_is_not_lost(site: Site) -> None:
    """Workers that are still importing leave as soon as they can, without a poll of the queue, and no process is started."""
    text = site.enter_text()
    fleet = site.start(worker_concurrency=2, ai_backend="stub", learning_feedback_adapter=ADAPTERS + "late")
    fleet.until_logged("spawned", 3)
    assert fleet.stop() == 0
    assert site.leases(text) == []
    assert [each["status"] for each in fleet.logged("exited")] == ["exit 0"] * 3
    assert len(fleet.logged("spawned")) == 3


def test_a_second_request_does_not_kill_a_booting_worker(site: Site) -> None:
    """Two requests during the imports: workers leave by themselves within the shortened drain, and no process is started."""
    fleet = site.start(worker_concurrency=2, ai_backend="stub", learning_feedback_adapter=ADAPTERS + "late")
    fleet.until_logged("spawned", 3)
    fleet.terminate(times=2)
    assert fleet.exit_code() == 0
    assert {each["status"] for each in fleet.logged("exited")} == {"exit 0"}
    assert len(fleet.logged("spawned")) == 3


def test_an_interrupt_at_a_terminal_is_one_request(site: Site) -> None:
    """Ctrl-C reaches the whole foreground group. The workers leave it to the supervisor, and finish their jobs."""
    site.simulator.fault("slow", FEEDBACK_MODEL, seconds=1)
    text = site.enter_text()
    fleet = site.start()
    (worker,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    for pid in (worker, fleet.monitor_pid(), fleet.pid):
        os.kill(pid, signal.SIGINT)
    assert fleet.exit_code() == 0
    site.until_done_once([text])


def test_a_stopped_worker_does_not_delay_the_end(site: Site) -> None:
    """A worker stopped by SIGSTOP is killed when the drain ends."""
    fleet = start_in_a_job(site, drain_timeout_seconds=1)
    (worker,) = fleet.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    assert fleet.stop() == CUT_SHORT
    assert_given_back(site)


def test_leases_that_could_not_be_reclaimed_are_left_to_the_next_supervisor(site: Site) -> None:
    """The monitor hangs at the very end: the leases stay, and so does the file by which the next supervisor finds them."""
    fleet = start_in_a_job(site, NEVER_SECONDS)
    os.kill(fleet.monitor_pid(), signal.SIGSTOP)
    fleet.terminate(times=3)
    assert fleet.exit_code(SOON_SECONDS) == CUT_SHORT
    (job,) = site.jobs()
    assert job["status"] == "leased"
    site.start()
    site.until_done_once([job["submission_id"]])


def test_a_clean_end_leaves_no_lock_socket_or_process(site: Site) -> None:
    """No lock, no socket, no process."""
    fleet = site.start()
    fleet.until_idle()
    assert fleet.stop() == 0
    assert list(fleet.runtime_directory.iterdir()) == []
    assert fleet.living() == []


def test_a_stop_works_if_the_parent_had_blocked_the_signals(site: Site) -> None:
    """The supervisor unblocks the signals that its parent had blocked or ignored, because exec(2) keeps both."""
    fleet = site.start(wrapper=(sys.executable, "-c", DEAF_PARENT))
    fleet.until_idle()
    assert fleet.stop() == 0


def test_a_stop_without_a_database_is_a_stop(site: Site) -> None:
    """Workers that lost their connections, and one that never had any, leave at once. No lease can be left, so the code is 0."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    site.shut_out()
    os.kill(fleet.pid, signal.SIGTTIN)
    fleet.until_busy("connect", 3)
    fleet.terminate()
    assert fleet.exit_code(SOON_SECONDS) == 0


def test_a_lease_without_a_reply_is_left_to_the_next_supervisor(site: Site) -> None:
    """A worker leases a job, its connection breaks before the reply, and the database is away. A stop then ends with 75, and
    the next supervisor does the job once.
    """
    with proxy_before(site.database.worker_dsn) as wire:
        fleet = site.start(learning_database_url=wire.dsn, worker_poll_interval=RARELY_SECONDS)
        fleet.until_idle()
        site.refuse_logins()
        wire.lose_answer_to(LEASE)
        text = site.enter_text()
        until(lambda: site.job(text)["status"] == "leased")
        site.cut_connections()
        fleet.until_busy("connect")
        fleet.terminate()
        assert fleet.exit_code(SOON_SECONDS) == CUT_SHORT
        assert [each["leases_left"] for each in fleet.logged("finished")] == ["1"]
        site.let_in()
        site.start(learning_database_url=wire.dsn)
        site.until_done_once([text])
