"""The monitor's services for the other processes, and how these work without it."""

import functools
import json
import os
import re
import signal
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import LiteralString

import pytest

from testkit.live_fleet import LiveFleet
from testkit.site import FEEDBACK_MODEL, Site, everything
from testkit.submissions import Submission
from testkit.waiting import until

pytestmark = pytest.mark.postgres

AT_ONCE_SECONDS = 1.0
RARELY_SECONDS = 60  # the longest poll interval, far above the duration of a test
LONG_LEASE_SECONDS = 600
LEAKY = "testkit.adapters.leaky"
MONITOR = "learning-supervisor monitor"
LAST_QUERIES: LiteralString = """
    select application_name, query_start from pg_stat_activity
     where datname = current_database() and starts_with(application_name, 'learning-supervisor ')
"""
PHRASE_WORDS = 4  # in a row, as they never occur by chance in ids, class names and our own messages


# Wake-ups


def test_a_new_job_wakes_an_idle_worker(site: Site) -> None:
    """The platform's notification is enough: each job is leased at once, although the next poll is a minute away."""
    fleet = site.start(worker_concurrency=2, worker_poll_interval=RARELY_SECONDS)
    fleet.until_idle()
    for _ in range(5):
        text = site.enter_text()
        until(functools.partial(site.leases, text), AT_ONCE_SECONDS)
        site.until_done([text])


def last_queries(site: Site) -> dict[str, object]:
    """Time of the last statement of each session of the fleet, by the server's clock. The monitor's number is left out."""
    found = {row["application_name"]: row["query_start"] for row in site.all(LAST_QUERIES)}
    return {MONITOR if name.startswith(MONITOR) else name: at for name, at in found.items()}


def test_a_notification_without_a_job_costs_one_poll(site: Site) -> None:
    """One of eight idle workers polls, and the monitor once more. The other workers send no statement."""
    fleet = site.start(worker_concurrency=8, worker_poll_interval=RARELY_SECONDS, ai_backend="stub")
    fleet.until_idle()
    before = last_queries(site)

    def queried() -> set[str]:
        return {name for name, at in last_queries(site).items() if at != before[name]}

    site.owner.execute("notify learning_submissions")
    until(lambda: len(queried()) > 1 and MONITOR in queried())
    fleet.until_idle()
    assert len(queried() - {MONITOR}) == 1


def test_a_delayed_job_is_taken_when_it_is_due(site: Site) -> None:
    """No notification is sent at that moment, but the monitor knows the time. The job starts neither early nor late."""
    text = site.enter_text()
    site.delay(text, seconds=RARELY_SECONDS)
    fleet = site.start(worker_poll_interval=RARELY_SECONDS)
    fleet.until_idle()
    due_at = site.delay(text, seconds=1)
    (lease,) = until(lambda: site.leases(text))
    assert 0 <= (lease["at"] - due_at).total_seconds() < AT_ONCE_SECONDS


def test_a_retry_is_taken_when_it_is_due(site: Site) -> None:
    """The event of the worker that put the job back wakes the monitor, because the database sends no notification."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    fleet = site.start(worker_poll_interval=RARELY_SECONDS, worker_backoff_seconds=1, ai_timeout_feedback=1)
    fleet.until_idle()
    text = site.enter_text()
    site.until_done_once([text])
    first, second = site.leases(text)
    assert 1 <= (second["at"] - first["at"]).total_seconds() < 2 + AT_ONCE_SECONDS  # the model's silence, then the wait


def test_a_notification_that_arrives_with_a_result_wakes_a_worker(site: Site) -> None:
    """A notification that arrives while the monitor waits for a result wakes a worker like any other."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    deadly = site.enter_text()
    fleet = site.start(worker_concurrency=2, worker_poll_interval=RARELY_SECONDS, worker_max_crashes=1)
    (victim,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    with site.owner.transaction():
        site.one("select id from learning_submission_jobs where submission_id = %s for update", deadly)
        os.kill(victim, signal.SIGKILL)
        fleet.until_replaced([victim])
        until(lambda: {worker["activity"] for worker in fleet.workers()} == {"idle"})
        site.until_a_statement_waits_for_a_lock()
        text = site.enter_text()
    until(lambda: site.leases(text), AT_ONCE_SECONDS)
    site.until_done_once([deadly, text])


def test_a_job_without_a_notification_is_found(site: Site) -> None:
    """Without the platform's trigger the monitor's polls are enough, also after one that an outage interrupted."""
    site.owner.execute("alter table learning_submissions disable trigger learning_submissions_notify")
    fleet = site.start()
    fleet.until_idle()
    with site.owner.transaction():
        site.owner.execute("lock table learning_submission_jobs in access exclusive mode")
        site.until_a_statement_waits_for_a_lock()
        site.cut_connections()
    text = site.enter_text()
    until(lambda: site.leases(text), 2 * AT_ONCE_SECONDS)


def test_workers_poll_while_the_monitor_is_stopped(site: Site) -> None:
    """A monitor that is suspended costs some polls, and no job."""
    fleet = site.start(worker_concurrency=2, worker_poll_interval=0.2)
    fleet.until_idle()
    os.kill(monitor := fleet.monitor_pid(), signal.SIGSTOP)
    site.until_done_once(site.enter_texts(4))
    os.kill(monitor, signal.SIGCONT)
    assert fleet.monitor_pid() == monitor


# Deaths


def totals(fleet: LiveFleet) -> dict[str, float]:
    return {name: value for name, value in fleet.metrics().items() if "_total" in name}


def test_a_dead_monitor_is_replaced_and_totals_are_kept(site: Site) -> None:
    """Workers keep running, and no total decreases: of the workers, of the supervisor, of the monitor."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    first = site.enter_texts(4)
    fleet = site.start(worker_concurrency=2)
    (victim,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    os.kill(victim, signal.SIGKILL)
    site.until_done(first)
    fleet.until_idle()
    workers, before, monitor = fleet.worker_pids(), totals(fleet), fleet.monitor_pid()
    os.kill(monitor, signal.SIGKILL)
    site.until_done_once([*first, *site.enter_texts(4)])
    until(lambda: fleet.monitor_pid() != monitor)
    fleet.until_idle()
    after = totals(fleet)
    assert fleet.worker_pids() == workers
    assert after['ai_worker_processed_total{status="completed"}'] == 8
    assert before["learning_leases_reclaimed_total"] == 1
    assert {name for name in before if after[name] < before[name]} == set()


def test_a_lease_is_reclaimed_after_worker_and_monitor_died(site: Site) -> None:
    """No monitor ran when the worker died. The next one receives the request."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    text = site.enter_text()
    fleet = site.start(worker_lease_seconds=LONG_LEASE_SECONDS)
    (worker,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    os.kill(fleet.monitor_pid(), signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    site.until_done_once([text])
    (returned,) = fleet.logged("lease_reclaimed")
    assert returned["outcome"] == "reclaimed"


def test_a_lease_is_reclaimed_after_the_requested_monitor_died(site: Site) -> None:
    """The supervisor repeats the request to the next monitor."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    text = site.enter_text()
    fleet = site.start(worker_lease_seconds=LONG_LEASE_SECONDS)
    (worker,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    os.kill(monitor := fleet.monitor_pid(), signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    fleet.until_logged("reclaim_lease")
    os.kill(monitor, signal.SIGKILL)
    site.until_done_once([text])
    assert len(fleet.logged("reclaim_lease")) == 2


def test_a_lease_is_reclaimed_after_an_outage(site: Site) -> None:
    """A worker dies while the database is unreachable. Its lease is given back after the outage, not when it expires."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    text = site.enter_text()
    fleet = site.start(worker_lease_seconds=LONG_LEASE_SECONDS)
    (worker,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    site.shut_out()
    os.kill(worker, signal.SIGKILL)
    fleet.until_logged("reclaim_lease")
    site.let_in()
    site.until_done_once([text])


# Status, metrics and log


def test_health_follows_the_database(site: Site) -> None:
    """200 while work is possible, 503 with a reason while it is not, then 200 again. No process ends meanwhile."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    assert fleet.get("/healthz").status_code == 200
    site.shut_out()
    down = until(lambda: answer if (answer := fleet.get("/healthz")).status_code == 503 else None)
    assert down is not None
    assert "database" in down.json()["message"]
    site.let_in()
    until(lambda: fleet.get("/healthz").status_code == 200)
    site.until_done_once(site.enter_texts(4))
    assert fleet.logged("exited") == []


@pytest.mark.second_tier
def test_jobs_run_while_the_status_address_is_in_use(site: Site) -> None:
    """The log names the address and the remedy, jobs are done, and the address is used as soon as it is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        fleet = site.start(status_addr=address)
        site.until_done_once(site.enter_texts(3))
        refused = fleet.until_logged("cannot_listen")
    assert (refused[0]["address"], refused[0]["level"]) == (address, "WARNING")
    assert "STATUS_ADDR" in refused[0]["remedy"]
    assert fleet.get("/healthz").status_code == 200
    assert fleet.status()["metrics_address"] == address


@pytest.mark.second_tier
def test_the_monitor_runs_while_the_control_path_is_in_use(site: Site) -> None:
    """The log names the path. The monitor goes on with the queue, and listens when the path is free."""
    fleet = site.start()
    fleet.until_idle()
    monitor, path = fleet.monitor_pid(), fleet.runtime_directory / f"{fleet.instance():08x}.sock"
    path.unlink()
    path.mkdir()
    os.kill(monitor, signal.SIGKILL)
    fleet.until_logged("cannot_listen")
    site.until_done_once([site.enter_text()])
    path.rmdir()
    assert fleet.monitor_pid() != monitor
    assert len(fleet.logged("exited")) == 1


def test_no_output_contains_a_pupils_text(site: Site) -> None:
    """A class is processed with LOG_LEVEL=DEBUG, once normally, once with an adapter that puts texts into exceptions.

    Log, /metrics and status never contain four consecutive words of a pupil, a teacher or the model, nor a pupil's id or
    the key of a file.
    """
    good = site.start(worker_concurrency=2, log_level="DEBUG")
    site.until_done(site.enter(*everything()))
    secrets = [*phrases(texts_of(everything())), *phrases(texts_in(site)), *keys_in(site)]
    shown = [everything_shown(good)]
    good.kill()
    bad = site.start(
        worker_concurrency=2,
        log_level="DEBUG",
        learning_feedback_adapter=LEAKY,
        worker_max_job_age_seconds=1,  # else the jobs are held for its bugs without an end
    )
    site.until_done(site.enter(*everything()))
    shown.append(everything_shown(bad))
    assert len(secrets) > 1000
    assert {secret for secret in secrets for text in shown if secret in text} == set()
    assert {each["error"] for each in bad.logged("step_failed")} >= {"RuntimeError", "SystemExit"}


def everything_shown(fleet: LiveFleet) -> str:
    """Log, metrics and status as words with single spaces, so that quoting hides no match."""
    shown = "\n".join((*fleet.log(), fleet.get("/metrics").text, json.dumps(fleet.status(), ensure_ascii=False)))
    return " ".join(words(shown))


def texts_of(submissions: Iterable[Submission]) -> list[str]:
    typed = [each.content for each in submissions if isinstance(each.content, str)]
    expected = [each.expected_text for each in submissions if each.expected_text]
    asked = [each.instruction_md for each in submissions] + [each.hints_md for each in submissions if each.hints_md]
    return [*typed, *expected, *asked, *(criterion for each in submissions for criterion in each.criteria)]


def texts_in(site: Site) -> list[str]:
    """Texts of the models."""
    rows = site.all("select text_body, feedback_md, analysis_json::text as analysis from learning_submissions")
    return [value for row in rows for value in row.values() if value]


def keys_in(site: Site) -> list[str]:
    """Ids of pupils and keys of files, each also without its folders."""
    rows = site.all("select student_sub, storage_key, sha256 from learning_submissions")
    keys = [value for row in rows for value in row.values() if value]
    return [" ".join(words(each)) for key in keys for each in (key, Path(key).name)]


def phrases(texts: Iterable[str]) -> set[str]:
    """Every run of PHRASE_WORDS words."""
    runs = set()
    for text in texts:
        each = words(text)
        runs |= {" ".join(each[start : start + PHRASE_WORDS]) for start in range(len(each) - PHRASE_WORDS + 1)}
    return runs


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)
