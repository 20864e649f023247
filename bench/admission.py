"""Measures admission while Ollama is full, alternates around the limit, answers 503, or has room for one of two models.

All parts are real except the models. Ollama's memory is a control group's file that is written here, because the simulator
allocates nothing.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.fill_queue import enter_texts, is_empty
from bench.fleet import PROJECT_ROOT, Fleet, start_fleet
from bench.measured_process import BARE
from testkit.database import Database, temporary_database
from testkit.ollama_simulator.process import Option, SimulatorProcess, start_simulator
from testkit.parent_death import die_with
from testkit.postgres import Cluster
from testkit.submissions import demo_submissions, enter_all
from testkit.waiting import until

VISION_MODEL, FEEDBACK_MODEL = "qwen2.5vl:3b", "gpt-oss:latest"
GB = 10**9
LIMIT_BYTES, LOW_BYTES, OVER_BYTES = 8 * GB, 1 * GB, 9 * GB
SAMPLE_SECONDS = 1.0  # the default, and the goal for hold_ms
FLAP_SAMPLE_SECONDS = 0.1
FLAP_OVER_SECONDS, FLAP_UNDER_SECONDS = 0.5, 4.5  # a spike from far below to above the limit
WORKERS, INSTANCES, PARALLEL = 4, 2, 4
JOBS = 2000  # more than can be done, so that the queue is never empty during a measurement
SLOW_LOAD_SECONDS = 5.0


DONE_ONCE = """
    select count(*) from (
        select from audit_results where new_status = 'completed' group by submission_id having count(*) = 1
    ) as done_once
"""


@dataclass(frozen=True, slots=True)
class AdmissionSetup:
    """A database that audits every lease and result, a model server, and the directory with the size of Ollama's memory."""

    database: Database
    owner: psycopg.Connection[Any]
    simulator: SimulatorProcess
    home: Path

    def set_memory(self, size_bytes: int) -> None:
        (new := self.home / "memory.new").write_text(f"{size_bytes}\n")
        new.replace(self.home / "memory.current")

    def settings(self, **more: object) -> dict[str, str]:
        return {
            "OLLAMA_NUM_PARALLEL": str(PARALLEL),
            "OLLAMA_CGROUP": str(self.home),
            "STORAGE_VERIFY_ROOT": str(self.home),
            "AI_NUM_CTX": "4096",  # the figures are compared with those before the window was computed
            **{name.upper(): str(value) for name, value in more.items()},
        }

    @contextmanager
    def fleets(self, instances: int = 1, **more: object) -> Iterator[list[Fleet]]:
        """Start instances that are idle and have a first decision."""
        with ExitStack() as stack:
            settings = self.settings(**more)
            started = [start_fleet(WORKERS, self.database.worker_dsn, self.simulator.url, **settings) for _ in range(instances)]
            fleets = [stack.enter_context(each) for each in started]
            for fleet in fleets:
                fleet.until_at_rest()
            yield fleets

    def number(self, query: Any, *values: object) -> float:
        row = self.owner.execute(query, values).fetchone()
        assert row is not None
        return float(row[0] or 0.0)

    def results(self) -> int:
        return int(self.number("select count(*) from audit_results"))


def measure(rounds: int = 5, seconds: float = 25.0, storm_seconds: float = 3.0, photos: int = 24) -> dict[str, float]:
    """Run all measurements, each on a database of its own.

    `hold_ms`: longest time from the crossing of the limit to the last lease (goal: one sample, 1000).
    `flapping_ratio`: throughput with a memory spike of half a second every five, divided by that without (samples of 0.1 s).
    `recovery_s`: time from the end of a storm of 503 until as many calls are in flight as before.
    `lost`: submissions of the storm without exactly one result.
    `max_in_flight`: calls in flight to a model that takes `num_parallel`, from two instances of four workers.
    `phasing_gain`: jobs per minute, divided by those of as many workers without a monitor. The server has room for one model
    and needs 5 s for a load (goal: 3).
    """
    with opened() as setup:
        hold_ms = _hold_ms(setup, rounds)
    with opened() as setup:
        flapping_ratio = _flapping_ratio(setup, seconds)
    with opened() as setup:
        storm = _storm(setup, storm_seconds)
    governed, naive = (_exclusive_seconds(photos, has_admission=each) for each in (True, False))
    return {"hold_ms": hold_ms, "flapping_ratio": flapping_ratio, **storm, "phasing_gain": round(naive / governed, 2)}


@contextmanager
def opened(**options: Option) -> Iterator[AdmissionSetup]:
    """Start the database and a model server at which a job takes about a tenth of a second."""
    sizes = [f"{VISION_MODEL}:vision:size=1GB", f"{FEEDBACK_MODEL}:thinking:size=1GB"]
    usual: dict[str, Option] = {"model": sizes, "num_parallel": PARALLEL, "tokens_per_second": 600, "load_seconds": 0.1}
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn) as database,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
        start_simulator(**{**usual, **options}) as simulator,
        tempfile.TemporaryDirectory(prefix="bench-") as home,
    ):
        setup = AdmissionSetup(database, owner, simulator, Path(home))
        setup.set_memory(LOW_BYTES)
        yield setup


def _hold_ms(setup: AdmissionSetup, rounds: int) -> float:
    longest_seconds = 0.0
    with setup.fleets(ollama_memory_limit=LIMIT_BYTES, admission_sample_seconds=SAMPLE_SECONDS) as (fleet,):
        enter_texts(setup.owner, ["two plus two is four"] * JOBS)
        for _ in range(rounds):
            until(lambda: _admission(fleet)["slots"] >= WORKERS)
            leases = setup.number("select count(*) from audit_leases")
            until(lambda before=leases: setup.number("select count(*) from audit_leases") > before)  # type: ignore[misc]
            crossed_at = setup.number("select extract(epoch from clock_timestamp())")
            setup.set_memory(OVER_BYTES)
            until(lambda: _admission(fleet)["slots"] == 0 and not any(worker["job_id"] for worker in fleet.workers()))
            last_at = setup.number("select extract(epoch from max(at)) from audit_leases")
            longest_seconds = max(longest_seconds, last_at - crossed_at)
            setup.set_memory(LOW_BYTES)
    return round(1000 * longest_seconds, 1)


def _flapping_ratio(setup: AdmissionSetup, seconds: float) -> float:
    with setup.fleets(ollama_memory_limit=LIMIT_BYTES, admission_sample_seconds=FLAP_SAMPLE_SECONDS) as (fleet,):
        enter_texts(setup.owner, ["two plus two is four"] * JOBS)
        until(lambda: _admission(fleet)["slots"] >= WORKERS and setup.results() > 0)
        steady = _done_within(setup, seconds, is_flapping=False)
        flapping = _done_within(setup, seconds, is_flapping=True)
    return round(flapping / steady, 3)


def _done_within(setup: AdmissionSetup, seconds: float, *, is_flapping: bool) -> int:
    before, end_seconds = setup.results(), time.monotonic() + seconds
    while (left_seconds := end_seconds - time.monotonic()) > 0:
        if is_flapping:
            setup.set_memory(OVER_BYTES)
            time.sleep(min(FLAP_OVER_SECONDS, left_seconds))
            setup.set_memory(LOW_BYTES)
        time.sleep(max(0.0, min(FLAP_UNDER_SECONDS, end_seconds - time.monotonic())))
    return setup.results() - before


def _storm(setup: AdmissionSetup, storm_seconds: float) -> dict[str, float]:
    jobs = JOBS // 8
    with setup.fleets(INSTANCES) as fleets:
        setup.simulator.reset_calls()
        enter_texts(setup.owner, ["two plus two is four"] * jobs)
        until(lambda: _calls(setup) == PARALLEL)
        setup.simulator.fault("status_503", FEEDBACK_MODEL, times=100_000)
        time.sleep(storm_seconds)
        setup.simulator.clear_faults()
        ended_at_seconds = time.monotonic()
        until(lambda: _calls(setup) == PARALLEL)
        recovery_seconds = time.monotonic() - ended_at_seconds
        until(lambda: is_empty(setup.owner))
        most = setup.simulator.state()["models"][FEEDBACK_MODEL]["max_in_flight"]
        assert all(fleet.process.poll() is None for fleet in fleets)
    lost = jobs - int(setup.number(DONE_ONCE))
    return {"recovery_s": round(recovery_seconds, 2), "lost": lost, "max_in_flight": most, "num_parallel": PARALLEL}


def _exclusive_seconds(photos: int, *, has_admission: bool) -> float:
    """Measure from the submission of the photos to an empty queue. Before, all workers are idle and no model is loaded."""
    with opened(max_loaded_models=1, load_seconds=SLOW_LOAD_SECONDS) as setup, ExitStack() as stack:
        setup.set_memory(0)  # a model that is not listed uses no memory
        patient = {"ai_timeout_vision": 300, "ai_timeout_feedback": 300}
        if has_admission:
            stack.enter_context(setup.fleets(ollama_max_loaded_models=1, **patient))
        else:
            stack.enter_context(_bare_workers(setup, setup.settings(**patient)))
        photo = next(each for each in demo_submissions() if each.mime_type == "image/png")
        began_at_seconds = time.monotonic()
        enter_all(setup.owner, [photo] * photos, storage_root=setup.home)
        until(lambda: is_empty(setup.owner), photos * 4 * SLOW_LOAD_SECONDS)
        return time.monotonic() - began_at_seconds


@contextmanager
def _bare_workers(setup: AdmissionSetup, settings: dict[str, str]) -> Iterator[None]:
    """Start as many serial loops without a monitor. Each calls the model that its own job needs next."""
    environment = {
        "PYTHONPATH": str(PROJECT_ROOT),
        "LEARNING_DATABASE_URL": setup.database.worker_dsn,
        "AI_BACKEND": "local",
        "OLLAMA_BASE_URL": setup.simulator.url,
        **settings,
    }
    started = [
        subprocess.Popen(BARE, cwd=setup.home, env=environment, stderr=subprocess.DEVNULL, preexec_fn=die_with(os.getpid()))  # noqa: PLW1509
        for _ in range(WORKERS)
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def _admission(fleet: Fleet) -> dict[str, Any]:
    found: dict[str, Any] = fleet.status()["admission"]
    return found


def _calls(setup: AdmissionSetup) -> int:
    running: int = setup.simulator.state()["models"][FEEDBACK_MODEL]["running"]
    return running
