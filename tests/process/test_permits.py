"""A permit ends with its job: a silent host, a frozen host and a stopped server process keep no other worker waiting."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import UUID

import psutil
import pytest

from testkit.live_fleet import LiveFleet, kill_all
from testkit.outage import NO_MODEL
from testkit.site import FEEDBACK_MODEL, Site, Value
from testkit.waiting import until

pytestmark = pytest.mark.second_tier  # each waits for a lease or for the worker's time limit of a statement

GO_ON_SECONDS = 90.0
TEXTS = 5
CALLS, SEED = 80, 20261128
HOLDER: LiteralString = """
    select lock.pid as it from pg_locks as lock
    join pg_stat_activity as session on session.pid = lock.pid
    where lock.locktype = 'advisory' and lock.granted and session.application_name like 'learning-supervisor slot %%'
        and lock.database = (select oid from pg_database where datname = current_database())
"""
ONE_PERMIT: dict[str, Value] = {
    **NO_MODEL,
    "ollama_num_parallel": 1,
    "worker_lease_seconds": 5,
    "ai_timeout_feedback": 2,
    "terminate_grace_seconds": 0.1,
}


def start(site: Site, name: str, **settings: Value) -> LiveFleet:
    """Start an instance of its own. Its calls end when the file of its name exists."""
    return site.start_with(
        {**ONE_PERMIT, "gate": site.directory / name, "runtime_directory": site.directory / f"run-{name}", **settings}
    )


def open_gate(site: Site, name: str) -> None:
    (site.directory / name).touch()


def until_done_once(site: Site, entered: list[UUID]) -> None:
    until(lambda: site.is_done(entered), GO_ON_SECONDS, "all submissions are done")
    assert site.results() == sorted(entered)


def until_waiting(fleet: LiveFleet, workers: int) -> dict[str, Any]:
    """Wait until `status` reports so many workers that wait for a permit, and return its message."""
    return until(lambda: next((wait for wait in fleet.status()["permit_waits"] if len(wait["slots"]) == workers), None)) or {}


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Suspend processes for the length of the block."""
    kill_all(list(pids), signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)


def test_a_stopped_server_process_keeps_no_worker_waiting(site: Site) -> None:
    """Its worker works on with another session. The others get another permit in its place, and `status` reports it."""
    entered = site.enter_texts(TEXTS)
    fleet = start(site, "one", worker_concurrency=3, ai_timeout_feedback=60)
    fleet.until_busy("feedback")
    wait = until_waiting(fleet, 2)
    backend_pid = site.one(HOLDER)["it"]
    assert [(holder["permit"], holder["backend_pid"], holder["is_overdue"]) for holder in wait["holders"]] == [
        (1, backend_pid, False)
    ]
    assert fleet.status()["state"] == "ok"
    with stopped(backend_pid):
        open_gate(site, "one")
        until(lambda: fleet.status()["lost_permits"], GO_ON_SECONDS)
        assert fleet.status()["state"] == "degraded"
        assert f"server process {backend_pid}" in fleet.status()["message"]
        until_done_once(site, entered)
    until(lambda: fleet.status()["state"] == "ok" and not fleet.status()["lost_permits"])
    assert not psutil.pid_exists(backend_pid)
    assert [line["backend"] for line in fleet.logged("permit_overdue")] == [str(backend_pid)]


def test_a_frozen_instance_keeps_no_worker_waiting(site: Site) -> None:
    """Its kernel still acknowledges each packet. Its permit ends with the lease of its job, by another instance."""
    entered = site.enter_texts(TEXTS)
    frozen = start(site, "one", worker_concurrency=1)
    frozen.until_busy("feedback")
    with stopped(*(process.pid for process in frozen.living())):
        other = start(site, "two", worker_concurrency=2)
        open_gate(site, "two")
        until_done_once(site, entered)
        assert {line["is_ended"] for line in other.logged("permit_overdue")} == {"True"}
        assert other.status()["state"] == "ok"


def test_workers_that_share_a_permit_never_stand_still(site: Site) -> None:
    """The last of four workers gets the only permit after three calls, about a second, which is when its wait may time out."""
    lengths = random.Random(SEED)
    for _ in range(CALLS):
        site.simulator.fault("slow", FEEDBACK_MODEL, seconds=lengths.uniform(0.28, 0.335))
    entered = site.enter_texts(CALLS)
    fleet = site.start(worker_concurrency=4, ollama_num_parallel=1)
    until_done_once(site, entered)
    assert fleet.logged("permit_overdue") == []
    assert site.simulator.state()["models"][FEEDBACK_MODEL]["max_in_flight"] == 1
