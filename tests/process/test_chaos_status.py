"""The check of scripts/chaos that `status` is true, with a real fleet whose supervisor is frozen while its only job hangs."""

import os
import signal
import sys
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import class_row

from testkit.chaos.collect import TRANSITIONS
from testkit.chaos.environment import JOB_TRANSITIONS
from testkit.chaos.plan import Kind
from testkit.chaos.run_record import InjectedFault, JobTransition, RunRecord
from testkit.chaos.status_sampler import start_sampler
from testkit.chaos.truth import HEARTBEAT_SECONDS, Untruth, untrue_episodes
from testkit.site import FEEDBACK_MODEL, LONGEST_CALL_SECONDS, Site
from testkit.waiting import until

pytestmark = pytest.mark.second_tier

BLIND = """
import sys
from supervisor.monitor import status
status.HEARTBEAT_LATE_SECONDS = float("inf")
from supervisor.cli.main import main
sys.argv = sys.argv[1:]
main()
"""


@pytest.mark.parametrize("is_blind", [False, True])
def test_all_is_well_on_a_held_host_is_found(site: Site, tmp_path: Path, *, is_blind: bool) -> None:
    """The product reports a frozen supervisor. Without that report the check finds `All is well` on a host that a fault holds."""
    site.owner.execute(JOB_TRANSITIONS.read_bytes())
    (site.directory / "service.env").touch()
    site.simulator.fault("hang", FEEDBACK_MODEL)
    site.enter_text()
    began_at, host = time.time(), site.directory.name
    fleet = site.start(wrapper=(sys.executable, "-c", BLIND) if is_blind else (), ai_timeout_feedback=LONGEST_CALL_SECONDS)
    pids = site.until_in_call(fleet, FEEDBACK_MODEL)
    with start_sampler(tmp_path / "samples", [site.directory]) as sampler:
        until(lambda: any(sample.state == "ok" for sample in sampler.samples()), within_seconds=60)
        frozen_at = time.time()
        os.kill(fleet.pid, signal.SIGSTOP)
        until(lambda: any(sample.at > frozen_at + HEARTBEAT_SECONDS + 2 for sample in sampler.samples()), within_seconds=60)
        samples = sampler.samples()
    ended_at = time.time()
    os.kill(fleet.pid, signal.SIGCONT)
    with psycopg.connect(site.database.admin_dsn, row_factory=class_row(JobTransition)) as reader:
        transitions = tuple(reader.execute(TRANSITIONS))
    fault = InjectedFault(frozen_at, Kind.FREEZE_SUPERVISOR, None, "", frozenset({host}), ended_at)
    record = RunRecord(
        acknowledged=frozenset(),
        submissions=(),
        transitions=transitions,
        written=(),
        calls=(),
        injected=(fault,),
        log=(),
        began_at=began_at,
        ended_at=ended_at,
        samples=samples,
        hosts={host: frozenset(pids)},
    )
    found = [episode.untruth for episode in untrue_episodes(record)]
    assert found == ([Untruth.WELL_ON_A_HELD_HOST] if is_blind else []), samples[-1]
