"""What the monitor does for the others, and that they do without it when they must."""

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

from testkit.submissions import Submission
from testkit.waiting import until
from tests.process.fleet import LiveFleet
from tests.process.site import FEEDBACK_MODEL, Site, everything

pytestmark = pytest.mark.postgres

AT_ONCE_SECONDS = 1.0
RARELY_SECONDS = 60  # the longest poll: nobody waits for it here
LONG_LEASE_SECONDS = 600
LEAKY = "tests.process.adapters.leaky"
MONITOR = "learning-supervisor monitor"
LAST_ASKED: LiteralString = """
    select application_name, query_start from pg_stat_activity
     where datname = current_database() and starts_with(application_name, 'learning-supervisor ')
"""
WORDS_THAT_TELL = 4  # in a row: ids, classes and our own sentences never have them from a pupil


# Wake-ups


def test_a_new_job_wakes_an_idle_worker(site: Site) -> None:
    """The platform's notification is enough: each job is taken at once, though nobody would look for a minute."""
    fleet = site.start(worker_concurrency=2, worker_poll_interval=RARELY_SECONDS)
    fleet.until_idle()
    for _ in range(5):
        text = site.enter_text()
        until(functools.partial(site.leases, text), AT_ONCE_SECONDS)
        site.until_done([text])


def last_asked(site: Site) -> dict[str, object]:
    """When each session of the fleet sent its last statement, by the server's clock."""
    return {row["application_name"]: row["query_start"] for row in site.all(LAST_ASKED)}


def test_news_without_a_job_costs_one_look(site: Site) -> None:
    """Of eight idle workers one asks the queue, and the monitor once more; nobody else says a word."""
    fleet = site.start(worker_concurrency=8, worker_poll_interval=RARELY_SECONDS, ai_backend="stub")
    fleet.until_idle()
    before = last_asked(site)

    def asked() -> set[str]:
        return {name for name, at in last_asked(site).items() if at != before[name]}

    site.owner.execute("notify learning_submissions")
    until(lambda: len(asked()) > 1 and MONITOR in asked())
    fleet.until_idle()
    assert len(asked() - {MONITOR}) == 1


def test_a_delayed_job_is_taken_when_it_is_due(site: Site) -> None:
    """No notification comes at that moment: the monitor knows the time, and the job starts neither early nor late."""
    text = site.enter_text()
    site.delay(text, seconds=RARELY_SECONDS)
    fleet = site.start(worker_poll_interval=RARELY_SECONDS)
    fleet.until_idle()
    due_at = site.delay(text, seconds=1)
    (lease,) = until(lambda: site.leases(text))
    assert 0 <= (lease["at"] - due_at).total_seconds() < AT_ONCE_SECONDS


def test_a_retry_is_taken_when_it_is_due(site: Site) -> None:
    """The worker that gave the job back for later tells the monitor, as the database tells nobody."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    fleet = site.start(worker_poll_interval=RARELY_SECONDS, worker_backoff_seconds=1, ai_timeout_feedback=1)
    fleet.until_idle()
    text = site.enter_text()
    site.until_done_once([text])
    first, second = site.leases(text)
    assert 1 <= (second["at"] - first["at"]).total_seconds() < 2 + AT_ONCE_SECONDS  # the model's silence, then the wait


def test_news_that_comes_with_an_answer_is_news(site: Site) -> None:
    """A notification that reaches the monitor while it waits for a statement wakes a worker as any other does."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    deadly = site.enter_text()
    fleet = site.start(worker_concurrency=2, worker_poll_interval=RARELY_SECONDS, worker_max_crashes=1)
    (victim,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    with site.owner.transaction():
        site.one("select id from learning_submission_jobs where submission_id = %s for update", deadly)
        os.kill(victim, signal.SIGKILL)
        fleet.until_replaced([victim])
        until(lambda: {worker["activity"] for worker in fleet.workers()} == {"idle"})
        site.until_somebody_waits_for_a_lock()
        text = site.enter_text()
    until(lambda: site.leases(text), AT_ONCE_SECONDS)
    site.until_done_once([deadly, text])


def test_a_job_that_nobody_announces_is_found(site: Site) -> None:
    """Without the platform's trigger the monitor's own looks are enough, also after one that an outage cut off."""
    site.owner.execute("alter table learning_submissions disable trigger learning_submissions_notify")
    fleet = site.start()
    fleet.until_idle()
    with site.owner.transaction():
        site.owner.execute("lock table learning_submission_jobs in access exclusive mode")
        site.until_somebody_waits_for_a_lock()
        site.cut_connections()
    text = site.enter_text()
    until(lambda: site.leases(text), 2 * AT_ONCE_SECONDS)


def test_workers_look_for_themselves_while_the_monitor_is_stopped(site: Site) -> None:
    """A monitor that neither works nor ends costs some polls, and no job."""
    fleet = site.start(worker_concurrency=2, worker_poll_interval=0.2)
    fleet.until_idle()
    os.kill(monitor := fleet.monitor_pid(), signal.SIGSTOP)
    site.until_done_once(site.enter_texts(4))
    os.kill(monitor, signal.SIGCONT)
    assert fleet.monitor_pid() == monitor


# Deaths


def totals(fleet: LiveFleet) -> dict[str, float]:
    return {name: value for name, value in fleet.metrics().items() if "_total" in name}


def test_a_dead_monitor_is_replaced_and_nothing_is_forgotten(site: Site) -> None:
    """Workers go on as they are, and no total goes backwards: not theirs, not the supervisor's, not its own."""
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
    assert before["learning_leases_returned_total"] == 1
    assert {name for name in before if after[name] < before[name]} == set()


def test_a_lease_is_given_back_though_the_monitor_died_with_its_worker(site: Site) -> None:
    """Nobody was there to ask: the next monitor is."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    text = site.enter_text()
    fleet = site.start(worker_lease_seconds=LONG_LEASE_SECONDS)
    (worker,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    os.kill(fleet.monitor_pid(), signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    site.until_done_once([text])
    (returned,) = fleet.told("lease_returned")
    assert returned["outcome"] == "returned"


def test_a_lease_is_given_back_though_the_monitor_that_was_asked_is_dead(site: Site) -> None:
    """A request that somebody took with him is made again to his successor."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    text = site.enter_text()
    fleet = site.start(worker_lease_seconds=LONG_LEASE_SECONDS)
    (worker,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    os.kill(monitor := fleet.monitor_pid(), signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    fleet.until_told("return_lease")
    os.kill(monitor, signal.SIGKILL)
    site.until_done_once([text])
    assert len(fleet.told("return_lease")) == 2


def test_a_lease_is_given_back_after_an_outage(site: Site) -> None:
    """A worker dies while nobody reaches the database: the lease comes back with the database, not at its end."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    text = site.enter_text()
    fleet = site.start(worker_lease_seconds=LONG_LEASE_SECONDS)
    (worker,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    site.shut_out()
    os.kill(worker, signal.SIGKILL)
    fleet.until_told("return_lease")
    site.let_in()
    site.until_done_once([text])


# What it shows


def test_health_follows_the_database(site: Site) -> None:
    """200 while work is possible, 503 with a reason while it is not, and 200 again; no process ends in between."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    assert fleet.get("/healthz").status_code == 200
    site.shut_out()
    ill = until(lambda: answer if (answer := fleet.get("/healthz")).status_code == 503 else None)
    assert ill is not None
    assert "database" in ill.json()["sentence"]
    site.let_in()
    until(lambda: fleet.get("/healthz").status_code == 200)
    site.until_done_once(site.enter_texts(4))
    assert fleet.told("exited") == []


def test_a_taken_address_stops_no_work(site: Site) -> None:
    """The log names the address and the remedy, jobs are done, and the address is served as soon as it is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        fleet = site.start(status_addr=address)
        site.until_done_once(site.enter_texts(3))
        refused = fleet.until_told("cannot_listen")
    assert (refused[0]["address"], refused[0]["level"]) == (address, "WARNING")
    assert "STATUS_ADDR" in refused[0]["remedy"]
    assert fleet.get("/healthz").status_code == 200
    assert fleet.status()["metrics_address"] == address


def test_a_taken_place_of_the_control_socket_stops_no_monitor(site: Site) -> None:
    """What lies there and is no socket is told; the monitor goes on with the queue, and listens when the place is free."""
    fleet = site.start()
    fleet.until_idle()
    monitor, place = fleet.monitor_pid(), fleet.runtime_directory / f"{fleet.instance():08x}.sock"
    place.unlink()
    place.mkdir()
    os.kill(monitor, signal.SIGKILL)
    fleet.until_told("cannot_listen")
    site.until_done_once([site.enter_text()])
    place.rmdir()
    assert fleet.monitor_pid() != monitor
    assert len(fleet.told("exited")) == 1


def test_nothing_shows_what_a_pupil_wrote(site: Site) -> None:
    """A class is worked off at the most talkative level, once well and once by an adapter that puts texts into exceptions.

    Neither the log nor /metrics nor the status has four words in a row of a pupil, a teacher or the model, a pupil's id or
    the key of a file.
    """
    good = site.start(worker_concurrency=2, log_level="DEBUG")
    site.until_done(site.enter(*everything()))
    secrets = [*phrases(texts_of(everything())), *phrases(texts_in(site)), *keys_in(site)]
    shown = [everything_shown(good)]
    good.kill()
    bad = site.start(worker_concurrency=2, log_level="DEBUG", learning_feedback_adapter=LEAKY, worker_max_retries=0)
    site.until_done(site.enter(*everything()))
    shown.append(everything_shown(bad))
    assert len(secrets) > 1000
    assert {secret for secret in secrets for text in shown if secret in text} == set()
    assert {each["error"] for each in bad.told("step_failed")} >= {"RuntimeError"}
    assert "child: SystemExit" in bad.log()


def everything_shown(fleet: LiveFleet) -> str:
    """With the spaces of a text, however it was quoted."""
    shown = "\n".join((*fleet.log(), fleet.get("/metrics").text, json.dumps(fleet.status(), ensure_ascii=False)))
    return " ".join(words(shown))


def texts_of(submissions: Iterable[Submission]) -> list[str]:
    typed = [each.content for each in submissions if isinstance(each.content, str)]
    expected = [each.expected_text for each in submissions if each.expected_text]
    asked = [each.instruction_md for each in submissions] + [each.hints_md for each in submissions if each.hints_md]
    return [*typed, *expected, *asked, *(criterion for each in submissions for criterion in each.criteria)]


def texts_in(site: Site) -> list[str]:
    """What the models said."""
    rows = site.all("select text_body, feedback_md, analysis_json::text as analysis from learning_submissions")
    return [value for row in rows for value in row.values() if value]


def keys_in(site: Site) -> list[str]:
    """Of pupils and of files, whole and without their folders."""
    rows = site.all("select student_sub, storage_key, sha256 from learning_submissions")
    keys = [value for row in rows for value in row.values() if value]
    return [" ".join(words(each)) for key in keys for each in (key, Path(key).name)]


def phrases(texts: Iterable[str]) -> set[str]:
    """Every run of words that tells."""
    runs = set()
    for text in texts:
        each = words(text)
        runs |= {" ".join(each[start : start + WORDS_THAT_TELL]) for start in range(len(each) - WORDS_THAT_TELL + 1)}
    return runs


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)
