"""The supervisor as the first process of a container: no default signal dispositions, and it inherits every orphan."""

import os
import subprocess

import psutil
import pytest

from testkit.live_fleet import LiveFleet
from testkit.site import Site
from testkit.waiting import until

FERTILE = "testkit.adapters.fertile"
OWN_PIDS = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def may_be_first() -> bool:
    return os.getuid() == 0 and subprocess.run([*OWN_PIDS, "true"], capture_output=True, check=False).returncode == 0


def supervisor_of(fleet: LiveFleet) -> psutil.Process:
    """Return the pid outside the namespace, where `unshare` is its parent."""
    (first,) = until(psutil.Process(fleet.pid).children)
    return first


def forked(supervisor: psutil.Process, name: str) -> list[psutil.Process]:
    return [child for child in supervisor.children() if child.name() == name]


@pytest.mark.skipif(not may_be_first(), reason="needs a namespace of process ids, which only root may make here")
def test_it_works_as_a_container_s_first_process(site: Site) -> None:
    """With pid 1 it works, reaps foreign children silently, replaces a worker, obeys SIGTERM, and leaves no process behind."""
    fleet = site.start(wrapper=OWN_PIDS, worker_concurrency=2, ai_backend="stub", learning_feedback_adapter=FERTILE)
    site.until_done_once(entered := site.enter_texts(3))
    supervisor = supervisor_of(fleet)
    assert [each["pid"] for each in fleet.logged("started")] == ["1"]
    stranger, *_ = until(lambda: forked(supervisor, "sleep"))
    stranger.kill()
    until(lambda: not psutil.pid_exists(stranger.pid))
    assert fleet.logged("exited") == []
    worker = next(child for child in supervisor.children() if child.name() != "sleep")
    worker.kill()
    (death,) = fleet.until_logged("exited")
    assert (death["status"], death["cause"]) == ("signal 9", "signal")
    until(lambda: psutil.STATUS_ZOMBIE not in {child.status() for child in supervisor.children()})
    site.until_done_once([*entered, *site.enter_texts(2)])
    supervisor.terminate()
    assert fleet.exit_code() == 0
    assert fleet.living() == []
