"""Orders while it runs, by signal and over the control socket: more workers, fewer, fresh ones, other settings."""

import os
import signal

import pytest

from testkit.database import url
from testkit.waiting import until
from tests.process.fleet import LiveFleet
from tests.process.site import FEEDBACK_MODEL, Site

pytestmark = pytest.mark.postgres

ACCEPTED, NO_ORDER, NOT_NOW, WRONG = 202, 400, 409, 422


def start_busy(site: Site, workers: int) -> tuple[LiveFleet, list[int]]:
    """Every worker is in a call that takes a while; with their pids."""
    site.simulator.fault("slow", FEEDBACK_MODEL, times=workers, seconds=2)
    site.enter_texts(workers)
    fleet = site.start(worker_concurrency=workers)
    return fleet, site.until_in_call(fleet, FEEDBACK_MODEL, workers)


def until_workers(fleet: LiveFleet, count: int) -> None:
    """So many are there, and all of them run."""
    until(lambda: [worker["state"] for worker in fleet.workers()] == ["running"] * count)


def assert_nobody_was_interrupted(site: Site, fleet: LiveFleet) -> None:
    """Each job was leased once and is done, and whoever left did so by itself."""
    entered = [row["id"] for row in site.all("select id from learning_submissions")]
    site.until_done_once(entered)
    assert len(site.leases(*entered)) == len(entered)
    assert {(each["status"], each["cause"]) for each in fleet.told("exited")} <= {("exit 0", "asked")}
    assert fleet.told("kill") == []


# How many


def test_fewer_and_more_while_all_are_busy(site: Site) -> None:
    """From four to one and on to eight: those who must go finish their jobs, the first never leaves, all eight work."""
    fleet, busy = start_busy(site, 4)
    assert fleet.order("/scale", workers=1).json() == {"outcome": "accepted", "workers": 1, "names": []}
    until_workers(fleet, 1)
    assert fleet.worker_pids() == busy[:1]
    assert fleet.order("/scale", workers=8).status_code == ACCEPTED
    until_workers(fleet, 8)
    fleet.until_idle()
    site.simulator.fault("slow", FEEDBACK_MODEL, times=8, seconds=2)
    site.enter_texts(8)
    site.until_in_call(fleet, FEEDBACK_MODEL, 8)
    assert fleet.worker_pids()[0] == busy[0]
    assert_nobody_was_interrupted(site, fleet)
    assert fleet.metrics()["learning_workers_wanted"] == 8


def test_growing_again_at_once_keeps_who_is_still_there(site: Site) -> None:
    """Who was asked to go and is wanted again meanwhile is replaced after its job like any other: no job is lost over it."""
    fleet, _ = start_busy(site, 3)
    fleet.order("/scale", workers=1)
    fleet.order("/scale", workers=3)
    until_workers(fleet, 3)
    assert_nobody_was_interrupted(site, fleet)


def test_signals_make_it_one_more_or_one_less(site: Site) -> None:
    """SIGTTIN and SIGTTOU as gunicorn has them, and never fewer than one."""
    fleet = site.start(worker_concurrency=1)
    until_workers(fleet, 1)
    os.kill(fleet.pid, signal.SIGTTIN)
    until_workers(fleet, 2)
    for _ in range(3):
        os.kill(fleet.pid, signal.SIGTTOU)
    until_workers(fleet, 1)
    fleet.until_idle()
    assert fleet.stop() == 0


# Fresh ones


def test_all_are_replaced_one_after_the_other(site: Site) -> None:
    """Each worker leaves after its job, the next one only when the first one's successor runs; other pids, no crash."""
    fleet, before = start_busy(site, 3)
    assert fleet.order("/recycle", slots="all").status_code == ACCEPTED
    fleet.until_replaced(before)
    assert_nobody_was_interrupted(site, fleet)
    changes = [line.split()[2] for line in fleet.log() if "slot=monitor" not in line]
    order = [each for each in changes[changes.index("recycle_asked") :] if each in {"retire", "exited", "booted"}]
    assert order == ["retire", "exited", "booted"] * 3
    assert {each["why"] for each in fleet.told("retire")} == {"asked for by an operator"}


def test_one_is_replaced_where_one_is_named(site: Site) -> None:
    """The others keep their processes."""
    fleet = site.start(worker_concurrency=3)
    fleet.until_idle()
    before = fleet.worker_pids()
    fleet.order("/recycle", slots=[1])
    fleet.until_replaced([before[1]])
    after = fleet.worker_pids()
    assert (after[0], after[2]) == (before[0], before[2])


# Other settings


def settings_file(site: Site, text: str) -> None:
    (site.directory / ".env").write_text(text)


def test_right_settings_reach_every_worker_in_turn(site: Site) -> None:
    """SIGHUP: more workers, another log level, and each old worker is replaced after its job with never two away at once."""
    settings_file(site, "LOG_LEVEL=INFO\n")
    fleet, before = start_busy(site, 2)
    settings_file(site, "LOG_LEVEL=DEBUG\nWORKER_POLL_INTERVAL=0.3\n")
    os.kill(fleet.pid, signal.SIGHUP)
    fleet.until_told("reloaded")
    fleet.until_replaced(before)
    assert_nobody_was_interrupted(site, fleet)
    assert {each["why"] for each in fleet.told("retire")} == {"settings were read again"}
    until(lambda: not fleet.status()["is_reloading"])
    assert not fleet.told("leased")
    until(lambda: fleet.told("spawned")[-1]["slot"] == "monitor")  # it takes them over last
    site.until_done([site.enter_text()])
    fleet.until_told("leased")


def test_wrong_settings_change_nothing(site: Site) -> None:
    """Each problem is logged with its variable and without its value, the status says so, and all go on as they were."""
    settings_file(site, "WORKER_POLL_INTERVAL=0.3\n")
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    before = fleet.worker_pids()
    settings_file(site, "WORKER_POLL_INTERVAL=geheim1\nAI_TIMEOUT_VISION=geheim2\n")
    os.kill(fleet.pid, signal.SIGHUP)
    fleet.until_told("reload_refused")
    assert {each["variable"] for each in fleet.told("wrong_setting")} == {"WORKER_POLL_INTERVAL", "AI_TIMEOUT_VISION"}
    assert not [line for line in fleet.log() if "geheim" in line]
    until(lambda: "settings that were read last are not in use" in fleet.status()["sentence"])
    assert fleet.get("/healthz").status_code == 200
    site.until_done_once(site.enter_texts(2))
    assert fleet.worker_pids() == before
    settings_file(site, "WORKER_POLL_INTERVAL=0.3\n")
    assert fleet.order("/reload").status_code == ACCEPTED
    fleet.until_state("ok")


def test_a_settings_file_that_cannot_be_read_changes_nothing(site: Site) -> None:
    """A pipe, a directory, another encoding or a huge file: the supervisor neither waits nor ends, the old settings stay."""
    fleet = site.start()
    fleet.until_idle()
    before, path = fleet.worker_pids(), site.directory / ".env"
    os.mkfifo(path)
    assert_unreadable(fleet)
    path.unlink()
    path.mkdir()
    assert_unreadable(fleet)
    path.rmdir()
    path.write_bytes("LOG_LEVEL=INFO # f\u00fcr alle".encode("latin-1"))
    assert_unreadable(fleet)
    os.truncate(path, 2**32)
    assert_unreadable(fleet)
    assert fleet.worker_pids() == before


def assert_unreadable(fleet: LiveFleet) -> None:
    answer = fleet.order("/reload")
    assert (answer.status_code, answer.json()["names"]) == (WRONG, ["--env-file"])


def test_a_settings_file_that_has_gone_does_not_bring_the_defaults_back(site: Site) -> None:
    """The file that was named at the start is missing at a reload: what stood in it stays in use."""
    (settings := site.directory / "service.env").write_text("LOG_LEVEL=DEBUG\n")
    fleet = site.start(wrapper=("sh", "-c", 'exec "$@" --env-file service.env', "sh"))
    fleet.until_idle()
    settings.unlink()
    assert_unreadable(fleet)
    site.until_done([site.enter_text()])
    fleet.until_told("leased")


def test_another_database_needs_another_start(site: Site) -> None:
    """The instance's lock names the database, and its leases lie there."""
    settings_file(site, f"LEARNING_DATABASE_URL={site.database.worker_dsn}\n")
    fleet = site.start(learning_database_url="")
    fleet.until_idle()
    settings_file(site, f"LEARNING_DATABASE_URL={url(site.database.worker_dsn, dbname='another')}\n")
    answer = fleet.order("/reload")
    assert (answer.status_code, answer.json()["names"]) == (WRONG, ["LEARNING_DATABASE_URL"])
    (problem,) = fleet.told("wrong_setting")
    assert "stop and start" in problem["remedy"]


def test_settings_that_a_worker_refuses_are_withdrawn(site: Site) -> None:
    """An adapter that is not there is found by the first new worker; the others go on with what they have, and it is told."""
    settings_file(site, "AI_BACKEND=stub\n")
    fleet = site.start(worker_concurrency=3, ai_backend="")
    fleet.until_idle()
    settings_file(site, "AI_BACKEND=stub\nLEARNING_FEEDBACK_ADAPTER=tests.process.adapters.missing\n")
    os.kill(fleet.pid, signal.SIGHUP)
    fleet.until_told("reload_withdrawn")
    until_workers(fleet, 3)
    site.until_done_once(site.enter_texts(3))
    assert "not in use" in fleet.status()["sentence"]
    assert fleet.stop() == 0


def test_what_was_given_at_the_start_keeps_winning(site: Site) -> None:
    """--procs is not undone by a reload."""
    settings_file(site, "WORKER_CONCURRENCY=3\n")
    fleet = site.start(wrapper=("sh", "-c", 'exec "$@" --procs 2', "sh"))
    fleet.until_idle()
    before = fleet.worker_pids()
    fleet.order("/reload")
    fleet.until_replaced(before)
    assert len(fleet.worker_pids()) == 2


# What is refused


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/scale", {"workers": 0}),
        ("/scale", {"workers": 65}),
        ("/scale", {"workers": "4"}),
        ("/scale", {}),
        ("/scale", {"workers": 2, "more": 1}),
        ("/recycle", {"slots": []}),
        ("/recycle", {"slots": [-1]}),
        ("/recycle", {"slots": "some"}),
        ("/recycle", {"slots": [0] * 65}),
        ("/reload", {"now": True}),
    ],
)
def test_an_order_that_is_none_is_refused(orders_fleet: LiveFleet, path: str, body: dict[str, object]) -> None:
    """Each with words, and nothing changes."""
    answer = orders_fleet.order(path, **body)
    assert (answer.status_code, len(answer.json()["problems"]) > 0) == (NO_ORDER, True)
    assert len(orders_fleet.worker_pids()) == 1


@pytest.fixture
def orders_fleet(site: Site) -> LiveFleet:
    return site.start()


def test_nobody_is_replaced_in_a_slot_that_has_no_worker(site: Site) -> None:
    """Refused as a whole, with the slots' numbers."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    before = fleet.worker_pids()
    answer = fleet.order("/recycle", slots=[0, 7])
    assert (answer.status_code, answer.json()["names"]) == (NOT_NOW, ["7"])
    assert fleet.worker_pids() == before


def test_who_is_stopping_takes_no_orders(site: Site) -> None:
    """Neither more workers nor other settings reach a fleet that has been asked to stop; it ends as it would have."""
    fleet, _ = start_busy(site, 1)
    fleet.terminate()
    answers = [fleet.order("/scale", workers=2), fleet.order("/recycle", slots="all"), fleet.order("/reload")]
    assert [(each.status_code, each.json()["outcome"]) for each in answers] == [(NOT_NOW, "stopping")] * 3
    assert fleet.exit_code() == 0
    assert len(fleet.told("spawned")) == 2


def test_a_stop_during_a_reload_is_a_stop(site: Site) -> None:
    """Half of the workers have the new settings when SIGTERM comes: all leave after their jobs, and nobody is started."""
    fleet, busy = start_busy(site, 2)
    os.kill(fleet.pid, signal.SIGHUP)
    fleet.until_told("retire")
    fleet.terminate()
    assert fleet.exit_code() == 0
    assert_nobody_was_interrupted(site, fleet)
    assert [each["pid"] for each in fleet.told("spawned") if each["slot"] != "monitor"] == [str(pid) for pid in busy]
