"""Commands to a running supervisor, by signal and over the control socket: scale, recycle, reload."""

import os
import signal

from testkit.database import url
from testkit.live_fleet import LiveFleet
from testkit.site import FEEDBACK_MODEL, Site
from testkit.waiting import until

ACCEPTED, INVALID, NOT_NOW, WRONG = 202, 400, 409, 422
INVALID_COMMANDS: tuple[tuple[str, dict[str, object]], ...] = (
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
)


def start_busy(site: Site, workers: int) -> tuple[LiveFleet, list[int]]:
    """Start workers and wait until each is in a slow call. Returns their pids, too."""
    site.simulator.fault("slow", FEEDBACK_MODEL, times=workers, seconds=2)
    site.enter_texts(workers)
    fleet = site.start(worker_concurrency=workers)
    return fleet, site.until_in_call(fleet, FEEDBACK_MODEL, workers)


def until_workers(fleet: LiveFleet, count: int) -> None:
    """Wait until this many workers are running."""
    until(lambda: [worker["state"] for worker in fleet.workers()] == ["running"] * count)


def assert_no_job_was_interrupted(site: Site, fleet: LiveFleet) -> None:
    """Each job was leased once and is done, and each worker that left exited by itself."""
    entered = [row["id"] for row in site.all("select id from learning_submissions")]
    site.until_done_once(entered)
    assert len(site.leases(*entered)) == len(entered)
    assert {(each["status"], each["cause"]) for each in fleet.logged("exited")} <= {("exit 0", "asked")}
    assert fleet.logged("kill") == []


# scale


def test_fewer_and_more_while_all_are_busy(site: Site) -> None:
    """From four to one and on to eight: removed workers finish their jobs, the first stays, all eight work."""
    fleet, busy = start_busy(site, 4)
    assert fleet.command("/scale", workers=1).json() == {"outcome": "accepted", "workers": 1, "names": []}
    until_workers(fleet, 1)
    assert fleet.worker_pids() == busy[:1]
    assert fleet.command("/scale", workers=8).status_code == ACCEPTED
    until_workers(fleet, 8)
    fleet.until_idle()
    site.simulator.fault("slow", FEEDBACK_MODEL, times=8, seconds=2)
    site.enter_texts(8)
    site.until_in_call(fleet, FEEDBACK_MODEL, 8)
    assert fleet.worker_pids()[0] == busy[0]
    assert_no_job_was_interrupted(site, fleet)
    assert fleet.metrics()["learning_workers_wanted"] == 8


def test_growing_again_at_once_loses_no_job(site: Site) -> None:
    """A worker that was asked to leave and is needed again is replaced after its job."""
    fleet, _ = start_busy(site, 3)
    fleet.command("/scale", workers=1)
    fleet.command("/scale", workers=3)
    until_workers(fleet, 3)
    assert_no_job_was_interrupted(site, fleet)


def test_signals_add_and_remove_one_worker(site: Site) -> None:
    """SIGTTIN and SIGTTOU as of gunicorn, and never fewer than one worker."""
    fleet = site.start(worker_concurrency=1)
    until_workers(fleet, 1)
    os.kill(fleet.pid, signal.SIGTTIN)
    until_workers(fleet, 2)
    for _ in range(3):
        os.kill(fleet.pid, signal.SIGTTOU)
    until_workers(fleet, 1)
    fleet.until_idle()
    assert fleet.stop() == 0


# recycle


def test_all_are_replaced_one_after_the_other(site: Site) -> None:
    """Each worker leaves after its job, the next one when the successor runs. All pids change, and there is no crash."""
    fleet, before = start_busy(site, 3)
    assert fleet.command("/recycle", slots="all").status_code == ACCEPTED
    fleet.until_replaced(before)
    assert_no_job_was_interrupted(site, fleet)
    changes = [line.split()[2] for line in fleet.log() if "slot=monitor" not in line]
    order = [each for each in changes[changes.index("recycle_asked") :] if each in {"retire", "exited", "booted"}]
    assert order == ["retire", "exited", "booted"] * 3
    assert {each["why"] for each in fleet.logged("retire")} == {"asked for by an operator"}


def test_one_slot_is_replaced(site: Site) -> None:
    """The other workers keep their processes."""
    fleet = site.start(worker_concurrency=3)
    fleet.until_idle()
    before = fleet.worker_pids()
    fleet.command("/recycle", slots=[1])
    fleet.until_replaced([before[1]])
    after = fleet.worker_pids()
    assert (after[0], after[2]) == (before[0], before[2])


# reload


def settings_file(site: Site, text: str) -> None:
    (site.directory / ".env").write_text(text)


def test_valid_settings_reach_every_worker_in_turn(site: Site) -> None:
    """SIGHUP changes the log level, and each worker is replaced after its job, never two at once."""
    settings_file(site, "LOG_LEVEL=INFO\n")
    fleet, before = start_busy(site, 2)
    settings_file(site, "LOG_LEVEL=DEBUG\nWORKER_POLL_INTERVAL=0.3\n")
    os.kill(fleet.pid, signal.SIGHUP)
    fleet.until_logged("reloaded")
    fleet.until_replaced(before)
    assert_no_job_was_interrupted(site, fleet)
    assert {each["why"] for each in fleet.logged("retire")} == {"settings were read again"}
    until(lambda: not fleet.status()["is_reloading"])
    assert not fleet.logged("leased")
    until(lambda: fleet.logged("spawned")[-1]["slot"] == "monitor")  # it takes them over last
    site.until_done([site.enter_text()])
    fleet.until_logged("leased")


def test_wrong_settings_change_nothing(site: Site) -> None:
    """Each problem is logged with its variable and without its value, the status names it, and the workers stay."""
    settings_file(site, "WORKER_POLL_INTERVAL=0.3\n")
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    before = fleet.worker_pids()
    settings_file(site, "WORKER_POLL_INTERVAL=geheim1\nAI_TIMEOUT_VISION=geheim2\n")
    os.kill(fleet.pid, signal.SIGHUP)
    fleet.until_logged("reload_rejected")
    assert {each["variable"] for each in fleet.logged("wrong_setting")} == {"WORKER_POLL_INTERVAL", "AI_TIMEOUT_VISION"}
    assert not [line for line in fleet.log() if "geheim" in line]
    until(lambda: "settings that were read last are not in use" in fleet.status()["message"])
    assert fleet.get("/healthz").status_code == 200
    site.until_done_once(site.enter_texts(2))
    assert fleet.worker_pids() == before
    settings_file(site, "WORKER_POLL_INTERVAL=0.3\n")
    assert fleet.command("/reload").status_code == ACCEPTED
    fleet.until_state("ok")


def test_a_settings_file_that_cannot_be_read_changes_nothing(site: Site) -> None:
    """A pipe, a directory, another encoding, a huge file: the supervisor neither waits nor exits, the old settings stay."""
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
    answer = fleet.command("/reload")
    assert (answer.status_code, answer.json()["names"]) == (WRONG, ["--env-file"])


def test_a_deleted_settings_file_does_not_restore_the_defaults(site: Site) -> None:
    """If the named file is missing at a reload, the old settings stay in use."""
    (settings := site.directory / "service.env").write_text("LOG_LEVEL=DEBUG\n")
    fleet = site.start(wrapper=("sh", "-c", 'exec "$@" --env-file service.env', "sh"))
    fleet.until_idle()
    settings.unlink()
    assert_unreadable(fleet)
    site.until_done([site.enter_text()])
    fleet.until_logged("leased")


def test_another_database_needs_another_start(site: Site) -> None:
    """The instance's lock names the database, and its leases are stored there."""
    settings_file(site, f"LEARNING_DATABASE_URL={site.database.worker_dsn}\n")
    fleet = site.start(learning_database_url="")
    fleet.until_idle()
    settings_file(site, f"LEARNING_DATABASE_URL={url(site.database.worker_dsn, dbname='another')}\n")
    answer = fleet.command("/reload")
    assert (answer.status_code, answer.json()["outcome"]) == (WRONG, "needs_restart")
    assert answer.json()["names"] == ["LEARNING_DATABASE_URL"]
    (problem,) = fleet.logged("wrong_setting")
    assert "another database (another name). This cannot change while the supervisor runs: stop and start it" in problem["remedy"]
    until(lambda: "(another database or runtime directory)" in fleet.status()["message"])
    assert "Stop and start the service to use them" in fleet.status()["message"]


def test_a_reload_names_the_changed_settings(site: Site) -> None:
    """In the answer and in the log, without a value: a changed password is a changed LEARNING_DATABASE_URL."""
    settings_file(site, f"LEARNING_DATABASE_URL={site.database.worker_dsn}\nAI_NUM_CTX=4096\n")
    fleet = site.start(learning_database_url="")
    fleet.until_idle()
    dsn = url(site.database.worker_dsn, password="geheim7x")
    settings_file(site, f"LEARNING_DATABASE_URL={dsn}\nAI_NUM_CTX=8192\n")
    answer = fleet.command("/reload")
    assert answer.json()["names"] == ["LEARNING_DATABASE_URL", "AI_NUM_CTX"]
    assert [each["names"] for each in fleet.logged("settings_changed")] == ["LEARNING_DATABASE_URL,AI_NUM_CTX"]
    assert "geheim7x" not in "".join(fleet.log()) + answer.text


def test_a_settings_file_full_of_unknown_names_ends_no_supervisor(site: Site) -> None:
    """More and longer names than a message holds: the reload is rejected, and all of them are in the log."""
    fleet = site.start()
    fleet.until_idle()
    settings_file(site, "".join(f"AI_{number}_{'X' * 90}=1\n" for number in range(300)))
    answer = fleet.command("/reload")
    assert (answer.status_code, answer.json()["outcome"]) == (WRONG, "wrong_settings")
    assert (len(answer.json()["names"]), len(fleet.logged("wrong_setting"))) == (128, 300)
    site.until_done([site.enter_text()])


def test_settings_that_a_worker_rejects_are_withdrawn(site: Site) -> None:
    """The first new worker finds the missing adapter. The others keep the old settings, and the status names it."""
    settings_file(site, "AI_BACKEND=stub\n")
    fleet = site.start(worker_concurrency=3, ai_backend="")
    fleet.until_idle()
    settings_file(site, "AI_BACKEND=stub\nLEARNING_FEEDBACK_ADAPTER=testkit.adapters.missing\n")
    os.kill(fleet.pid, signal.SIGHUP)
    fleet.until_logged("reload_withdrawn")
    until_workers(fleet, 3)
    site.until_done_once(site.enter_texts(3))
    assert "not in use" in fleet.status()["message"]
    assert fleet.stop() == 0


def test_flags_of_the_start_keep_precedence(site: Site) -> None:
    """--procs is not undone by a reload."""
    settings_file(site, "WORKER_CONCURRENCY=3\n")
    fleet = site.start(wrapper=("sh", "-c", 'exec "$@" --procs 2', "sh"))
    fleet.until_idle()
    before = fleet.worker_pids()
    fleet.command("/reload")
    fleet.until_replaced(before)
    assert len(fleet.worker_pids()) == 2


# rejected commands


def test_an_invalid_command_is_rejected(site: Site) -> None:
    """Each with a reason, and nothing changes."""
    fleet = site.start()
    fleet.until_idle()
    before = fleet.worker_pids()
    for path, body in INVALID_COMMANDS:
        answer = fleet.command(path, **body)
        assert (answer.status_code, len(answer.json()["problems"]) > 0) == (INVALID, True), (path, body)
        assert fleet.worker_pids() == before, (path, body)


def test_a_slot_without_a_worker_is_not_replaced(site: Site) -> None:
    """The whole command is rejected with the slots' numbers."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    before = fleet.worker_pids()
    answer = fleet.command("/recycle", slots=[0, 7])
    assert (answer.status_code, answer.json()["names"]) == (NOT_NOW, ["7"])
    assert fleet.worker_pids() == before


def test_a_stopping_supervisor_rejects_commands(site: Site) -> None:
    """A stopping fleet gets neither more workers nor other settings, and exits as usual."""
    fleet, _ = start_busy(site, 1)
    fleet.terminate()
    answers = [fleet.command("/scale", workers=2), fleet.command("/recycle", slots="all"), fleet.command("/reload")]
    assert [(each.status_code, each.json()["outcome"]) for each in answers] == [(NOT_NOW, "stopping")] * 3
    assert fleet.exit_code() == 0
    assert len(fleet.logged("spawned")) == 2


def test_a_stop_during_a_reload_is_a_stop(site: Site) -> None:
    """With half of the workers on the new settings, SIGTERM makes all leave after their jobs. No worker is started."""
    fleet, busy = start_busy(site, 2)
    os.kill(fleet.pid, signal.SIGHUP)
    fleet.until_logged("retire")
    fleet.terminate()
    assert fleet.exit_code() == 0
    assert_no_job_was_interrupted(site, fleet)
    assert [each["pid"] for each in fleet.logged("spawned") if each["slot"] != "monitor"] == [str(pid) for pid in busy]
