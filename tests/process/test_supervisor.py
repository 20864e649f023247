"""A whole supervisor under fire: whatever dies, hangs or leaks, the slots fill again and each job ends once."""

import ctypes
import fcntl
import functools
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import psutil
import pytest

from testkit.adapters.deadly import POISON
from testkit.live_fleet import LiveFleet, Row, kill_all
from testkit.site import FEEDBACK_MODEL, LONGEST_CALL_SECONDS, VISION_MODEL, Site
from testkit.waiting import until
from worker.queue.leases import LeaseOwner

pytestmark = pytest.mark.postgres

LONG_LEASE_SECONDS = 600
NEVER_SECONDS = 60.0  # longer than any test waits
ADAPTERS = "testkit.adapters."
PIDFD_GETFD = 438  # the same number on every architecture
SMALL_PIPE_BYTES = 4096


def crashes(fleet: LiveFleet) -> int:
    return sum(worker["crashes"] for worker in fleet.workers())


def completed(worker: Row) -> int:
    total: int = worker["totals"]["completed"]
    return total


# Workers that die


def test_a_killed_idle_worker_is_replaced_without_a_wait(site: Site) -> None:
    """The first death costs no backoff, is counted with its signal, forgets no total, and is nothing to the worker beside it."""
    fleet = site.start(worker_concurrency=2, restart_backoff_seconds=NEVER_SECONDS)
    site.until_done_once(site.enter_texts(4))
    fleet.until_idle()
    neighbour, victim = sorted(fleet.workers(), key=completed)
    os.kill(victim["pid"], signal.SIGKILL)
    fleet.until_replaced([victim["pid"]])
    replaced, same = (fleet.workers()[before["slot"]] for before in (victim, neighbour))
    assert (replaced["starts"], replaced["crashes"], replaced["last_exit"]) == (2, 1, "signal 9")
    assert (same["pid"], same["crashes"]) == (neighbour["pid"], 0)
    assert completed(replaced) + completed(same) == 4


def test_a_job_whose_worker_dies_during_ocr_runs_again_at_once(site: Site) -> None:
    """The lease is back long before it would expire, each death is counted in the payload, and one result is written."""
    site.simulator.fault("hang", VISION_MODEL, times=2)
    (photo,) = site.enter_photos()
    fleet = site.start(worker_concurrency=2, worker_lease_seconds=LONG_LEASE_SECONDS, worker_max_crashes=3)
    os.kill(until_read(site, fleet, photo, times=1), signal.SIGKILL)
    heir = until_read(site, fleet, photo, times=2)
    assert site.job(photo)["payload"]["crashes"] == 1
    os.kill(heir, signal.SIGKILL)
    site.until_done_once([photo])
    assert (len(site.leases(photo)), crashes(fleet)) == (3, 2)


def until_read(site: Site, fleet: LiveFleet, photo: UUID, times: int) -> int:
    """The pid of the worker that has shown the photo to the model for the n-th time, each time under another lease."""
    until(lambda: len(site.leases(photo)) == site.vision_calls() == times)
    (reader,) = fleet.until_busy("vision")
    return reader


def test_a_committed_text_is_never_read_again(site: Site) -> None:
    """A worker that dies during feedback costs no second vision call, and the text is the one that was read."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    (photo,) = site.enter_photos()
    fleet = site.start(worker_concurrency=2)
    (victim,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    read = site.job(photo)["payload"]["cached_text_md"]
    os.kill(victim, signal.SIGKILL)
    site.until_done_once([photo])
    assert site.vision_calls() == 1
    assert site.submission(photo)["text_body"] == read


LOCK_JOB: LiteralString = "select from learning_submission_jobs where submission_id = %s for update"


@contextmanager
def settling(site: Site, workers: int = 2) -> Iterator[tuple[LiveFleet, UUID, int]]:
    """A fleet, a text, and the pid of the worker whose last statement about it waits in the server as long as the block lasts."""
    site.simulator.fault("slow", FEEDBACK_MODEL, seconds=1)
    text = site.enter_text()
    fleet = site.start(worker_concurrency=workers)
    site.until_in_call(fleet, FEEDBACK_MODEL)
    with site.owner.transaction():
        site.owner.execute(LOCK_JOB, [text])
        (worker,) = fleet.until_busy("settle")
        site.until_a_statement_waits_for_a_lock()  # the activity begins before its statement is sent
        until(lambda: psutil.Process(worker).status() == psutil.STATUS_SLEEPING)  # and the next lease is sent after it
        yield fleet, text, worker


def test_a_death_before_the_commit_writes_nothing(site: Site) -> None:
    """The worker dies while its last statement waits in the server: the job runs again, and one result is written."""
    with settling(site) as (fleet, text, victim):
        os.kill(victim, signal.SIGKILL)
        fleet.until_logged("exited")
        site.cut_connections()  # the server notices a dead client only at its next message
    site.until_done_once([text])
    assert len(site.leases(text)) == 2


def test_a_death_after_the_commit_repeats_nothing(site: Site) -> None:
    """The worker dies before it receives the commit: no model is called again, and no death is counted."""
    with settling(site) as (fleet, text, victim):
        os.kill(victim, signal.SIGSTOP)
    site.until_done([text])
    os.kill(victim, signal.SIGKILL)
    assert [each["outcome"] for each in fleet.until_logged("lease_reclaimed", 2)] == ["not_found"] * 2  # no next one either
    fleet.until_idle()
    assert site.results() == [text]
    assert (len(site.leases(text)), len(site.simulator.calls())) == (1, 1)


def test_a_death_after_the_commit_frees_the_next_job(site: Site) -> None:
    """The job leased in the settling transaction comes back too, although its worker never received it."""
    with settling(site, workers=1) as (fleet, text, victim):
        os.kill(victim, signal.SIGSTOP)
        next_text = site.enter_text()
        site.delay(next_text, -60)  # entered before the statement was sent, but committed with the release of the lock
    until(lambda: site.leases(next_text))
    os.kill(victim, signal.SIGKILL)
    assert {each["outcome"] for each in fleet.until_logged("lease_reclaimed", 2)} == {"not_found", "reclaimed"}
    site.until_done_once([text, next_text])
    assert (len(site.leases(text)), len(site.leases(next_text)), len(site.simulator.calls())) == (1, 2, 2)


def test_eight_workers_that_die_at_once_are_all_replaced(site: Site) -> None:
    """No zombie stays, every lease comes back, every job ends once."""
    site.simulator.fault("hang", FEEDBACK_MODEL, times=8)
    entered = site.enter_texts(8)
    fleet = site.start(worker_concurrency=8, ai_timeout_feedback=LONGEST_CALL_SECONDS)
    victims = site.until_in_call(fleet, FEEDBACK_MODEL, 8)
    kill_all(victims)
    fleet.until_replaced(victims)
    site.until_done_once(entered)
    assert crashes(fleet) == 8
    assert {child.pid for child in fleet.children()} == {*fleet.worker_pids(), fleet.monitor_pid()}
    assert len(site.leases(*entered)) == 16


def test_a_job_that_kills_its_workers_is_quarantined_while_others_run(site: Site) -> None:
    """Two deaths are enough: the job fails with a reason an operator can read, and every other one is completed."""
    poison, *others = [site.enter_text(POISON), *site.enter_texts(6)]
    fleet = site.start(worker_concurrency=2, ai_backend="stub", learning_feedback_adapter=ADAPTERS + "deadly")
    site.until_done_once([poison, *others])
    assert site.submission(poison)["error_code"] == "feedback_failed"
    job = site.job(poison)
    assert (job["status"], job["error_code"], job["payload"]["quarantined"]) == ("failed", "worker_crashed", {"crashes": 2})
    assert {site.submission(other)["analysis_status"] for other in others} == {"completed"}
    assert len(site.leases(poison)) == 2
    assert until(lambda: fleet.metrics()['ai_worker_failed_total{error_code="worker_crashed"}']) == 1
    assert crashes(fleet) == 2


# Workers that cannot start


def test_a_crash_loop_is_reported_and_can_be_stopped(site: Site) -> None:
    """Workers that die in their boot are started again and counted as that, and a request to stop ends wait and loop."""
    fleet = site.start(worker_concurrency=2, ai_backend="stub", learning_feedback_adapter=ADAPTERS + "stillborn")
    fleet.until_logged("exited", 4)
    assert {each["cause"] for each in fleet.logged("exited")} == {"boot"}
    until(lambda: fleet.get("/healthz").status_code == 503)
    assert fleet.stop() == 0


def test_a_missing_adapter_ends_the_service(site: Site) -> None:
    """No restart can help: the supervisor leaves with EX_CONFIG, names the module, and no job was touched."""
    site.enter_text()
    fleet = site.start(learning_feedback_adapter=ADAPTERS + "missing")
    assert fleet.exit_code() == 78
    assert any(ADAPTERS + "missing" in line for line in fleet.log())
    assert [job["status"] for job in site.jobs()] == ["queued"]


def test_a_boot_that_never_ends_is_killed_and_counted(site: Site) -> None:
    """A worker stuck in an import does not keep its slot, and counts as a crash."""
    fleet = site.start(
        ai_backend="stub",
        learning_feedback_adapter=ADAPTERS + "stuck",
        boot_timeout_seconds=1,
        terminate_grace_seconds=0.2,
    )
    fleet.until_logged("exited", 2)
    assert {each["why"] for each in fleet.logged("terminate")} == {"boot timed out"}
    assert {each["status"] for each in fleet.logged("exited")} == {"signal 9"}
    assert crashes(fleet) >= 2


# Workers that hang


@pytest.mark.second_tier
def test_a_stopped_worker_loses_its_job_to_another(site: Site) -> None:
    """An exceeded deadline is noticed without the worker's help, and another worker runs the job once to its end."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    text = site.enter_text()
    fleet = site.start(worker_concurrency=2, ai_timeout_feedback=3, worker_backoff_seconds=0, terminate_grace_seconds=0.2)
    (stopped,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    os.kill(stopped, signal.SIGSTOP)
    site.until_done_once([text])
    assert [each["why"] for each in fleet.logged("kill")] == ["grace expired"]
    first, second = site.leases(text)
    assert f"pid {stopped} " in first["application_name"]
    assert f"pid {stopped} " not in second["application_name"]


# What the supervisor keeps out of


def test_the_supervisor_has_one_thread_and_no_connection(site: Site) -> None:
    """After forks and replacements there is one thread, and no socket to another host or server."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    victims = fleet.worker_pids()
    kill_all(victims)
    fleet.until_replaced(victims)
    site.until_done_once(site.enter_texts(3))
    assert len(list(Path(f"/proc/{fleet.pid}/task").iterdir())) == 1
    peers = [(end.family, end.getpeername()) for end in sockets_of(fleet.pid)]
    assert set(peers) == {(socket.AF_UNIX, "")}  # a database's or server's socket has a name


def sockets_of(pid: int) -> Iterator[socket.socket]:
    """Our own descriptors of another process's sockets, because only a holder can query the peer."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if str(link.readlink()).startswith("socket:"):
            with socket.socket(fileno=libc.syscall(PIDFD_GETFD, pidfd, int(link.name), 0)) as copied:
                yield copied
    os.close(pidfd)


def test_lost_connections_cost_no_worker(site: Site) -> None:
    """The server ends every connection again and again while jobs run: the same processes go on, and each job ends once."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    before = fleet.worker_pids()
    for _ in range(5):
        entered = site.enter_texts(4)
        until(functools.partial(site.leases, *entered))
        site.cut_connections()
    site.until_done(submission_ids := [row["id"] for row in site.all("select id from learning_submissions")])
    assert site.results() == sorted(submission_ids)
    assert fleet.worker_pids() == before
    assert fleet.logged("exited") == []


# What adapters damage


def test_a_damaged_scoreboard_is_rewritten(site: Site) -> None:
    """After a library has overwritten the shared memory it is written anew, no process is lost, and the next jobs are taken."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    workers = fleet.worker_pids()
    overwrite_shared_memory(workers[0])
    site.until_done_once(site.enter_texts(4))
    until(lambda: fleet.worker_pids() == workers)
    fleet.until_state("ok")
    assert fleet.logged("exited") == []


def overwrite_shared_memory(pid: int) -> None:
    """Every byte of the only mapping that processes share without a file."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    (mapping,) = (line.split()[0] for line in maps if line.endswith("/dev/zero (deleted)"))
    start, end = (int(address, 16) for address in mapping.split("-"))
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(b"\xa5" * (end - start))


# What adapters leave behind


def orphans(fleet: LiveFleet) -> list[psutil.Process]:
    """Children of the supervisor that it did not start itself."""
    return [child for child in fleet.children() if child.name() == "sleep"]


def test_an_unknown_child_is_reaped_without_a_log_line(site: Site) -> None:
    """An orphan of an adapter is reparented to the supervisor, which reaps it without a log line."""
    fleet = site.start(ai_backend="stub", learning_feedback_adapter=ADAPTERS + "fertile")
    fleet.until_logged("booted")  # the supervisor's last line about a start: it is written less often than the status
    fleet.until_idle()
    (orphan,) = until(lambda: orphans(fleet))
    log, workers = fleet.log(), fleet.worker_pids()
    orphan.kill()
    until(lambda: not psutil.pid_exists(orphan.pid))
    assert (fleet.log(), fleet.worker_pids()) == (log, workers)
    assert fleet.stop() == 0


def test_children_of_a_worker_die_with_it(site: Site) -> None:
    """Processes of a dead worker's group are killed whatever their parent is, also after a worker that left by itself."""
    fleet = site.start(ai_backend="stub", learning_feedback_adapter=ADAPTERS + "fertile")
    fleet.until_idle()
    (orphan,), (victim,) = orphans(fleet), fleet.worker_pids()
    os.kill(victim, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(orphan.pid))
    fleet.until_replaced([victim])
    assert fleet.stop() == 0
    assert fleet.living() == []


# Where the log goes


def test_a_full_log_pipe_blocks_no_process(site: Site) -> None:
    """Lines are dropped and counted, jobs are done, and the count is logged once the pipe is read again."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALL_PIPE_BYTES)
    fleet = site.start(stderr=writing, worker_concurrency=2, log_level="DEBUG")
    os.close(writing)
    site.until_done_once(entered := site.enter_texts(20))
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb") as log:

        def is_drop_logged() -> bool:
            """A process that dropped no line reports none."""
            entered.append(site.enter_text())
            site.until_done_once(entered)
            return b" dropped_lines=" in (log.read() or b"")

        until(is_drop_logged)
        assert fleet.stop() == 0


def test_a_closed_log_pipe_ends_no_process(site: Site) -> None:
    """The reader of the log is gone: no process dies of SIGPIPE, and the jobs are done."""
    reading, writing = os.pipe()
    os.close(reading)
    fleet = site.start(stderr=writing, worker_concurrency=2, log_level="DEBUG")
    os.close(writing)
    site.until_done_once(site.enter_texts(10))
    assert crashes(fleet) == 0
    assert fleet.stop() == 0


def test_jobs_run_without_a_log(site: Site) -> None:
    """Started with its standard error closed, it works as ever."""
    fleet = site.start(wrapper=("sh", "-c", 'exec "$@" 2>&-', "sh"), worker_concurrency=2)
    site.until_done_once(site.enter_texts(3))
    assert fleet.stop() == 0


# Identities of processes


def test_a_lease_names_its_instance_and_its_worker(site: Site) -> None:
    """From a key in the database an operator finds the supervisor in `status` and the worker in the log."""
    text = site.enter_text()
    fleet = site.start()
    site.until_done([text])
    (lease,) = site.leases(text)
    owner = LeaseOwner.of(lease["lease_key"])
    assert owner is not None
    assert f"{owner.instance:08x}" == fleet.status()["instance"]
    incarnation = f"{owner.incarnation:08x}"
    spawned = {each["incarnation"]: each["pid"] for each in fleet.logged("spawned")}
    assert lease["application_name"].endswith(f"pid {spawned[incarnation]} {incarnation}")
