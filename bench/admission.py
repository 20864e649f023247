"""What admission does when Ollama is full, flaps, has no room, or has room for one of two models; real but for the models.

What Ollama holds is told by a control group's file that is written here: the simulator allocates nothing.
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

from bench.fill_queue import WORK_LIMIT_SECONDS, enter_texts, is_empty
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
SAMPLE_SECONDS = 1.0  # the default, which is the goal for hold_ms
FLAP_SAMPLE_SECONDS = 0.1
FLAP_OVER_SECONDS, FLAP_UNDER_SECONDS = 0.5, 4.5  # a spike now and then, from far below to over the limit
WORKERS, INSTANCES, PARALLEL = 4, 2, 4
JOBS = 2000  # more than are done: the queue is never empty while something is measured
PHASED_LOAD_SECONDS = 5.0


DONE_ONCE = """
    select count(*) from (
        select from audit_results where new_status = 'completed' group by submission_id having count(*) = 1
    ) as done_once
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """A database whose audit tells of every lease and result, a model server, and Ollama's memory as it is told."""

    database: Database
    owner: psycopg.Connection[Any]
    simulator: SimulatorProcess
    home: Path

    def hold(self, size_bytes: int) -> None:
        (new := self.home / "memory.new").write_text(f"{size_bytes}\n")
        new.replace(self.home / "memory.current")

    def settings(self, **more: object) -> dict[str, str]:
        return {
            "OLLAMA_NUM_PARALLEL": str(PARALLEL),
            "OLLAMA_CGROUP": str(self.home),
            "STORAGE_VERIFY_ROOT": str(self.home),
            **{name.upper(): str(value) for name, value in more.items()},
        }

    @contextmanager
    def fleets(self, instances: int = 1, **more: object) -> Iterator[list[Fleet]]:
        """Idle, and decided upon for the first time."""
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
    """`hold_ms`: the longest of all rounds, from the crossing of the limit to the last lease (goal: one sample, 1000).

    `flapping_ratio`: throughput with a spike of half a second every five, samples of 0.1 s, over that without. `recovery_s`: from
    the end of a storm of 503 to as many calls at once as before. `lost`: submissions of the storm without exactly one result.
    `max_in_flight`: calls at once to a model with `num_parallel` places, two instances of four workers. `phasing_gain`: jobs per
    minute over those of as many workers without a monitor, on a server that has room for one model, 5 s a load (goal: 3).
    """
    with opened() as ground:
        hold_ms = _hold_ms(ground, rounds)
    with opened() as ground:
        flapping_ratio = _flapping_ratio(ground, seconds)
    with opened() as ground:
        storm = _storm(ground, storm_seconds)
    phased, naive = (_phased_seconds(photos, is_phased=each) for each in (True, False))
    return {"hold_ms": hold_ms, "flapping_ratio": flapping_ratio, **storm, "phasing_gain": round(naive / phased, 2)}


@contextmanager
def opened(**options: Option) -> Iterator[Ground]:
    """A job takes about a tenth of a second at the model."""
    sizes = [f"{VISION_MODEL}:vision:size=1GB", f"{FEEDBACK_MODEL}:thinking:size=1GB"]
    usual: dict[str, Option] = {"model": sizes, "num_parallel": PARALLEL, "tokens_per_second": 600, "load_seconds": 0.1}
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn) as database,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
        start_simulator(**{**usual, **options}) as simulator,
        tempfile.TemporaryDirectory(prefix="bench-") as home,
    ):
        ground = Ground(database, owner, simulator, Path(home))
        ground.hold(LOW_BYTES)
        yield ground


def _hold_ms(ground: Ground, rounds: int) -> float:
    longest_seconds = 0.0
    with ground.fleets(ollama_memory_limit=LIMIT_BYTES, admission_sample_seconds=SAMPLE_SECONDS) as (fleet,):
        enter_texts(ground.owner, ["two plus two is four"] * JOBS)
        for _ in range(rounds):
            until(lambda: _admission(fleet)["slots"] >= WORKERS)
            leases = ground.number("select count(*) from audit_leases")
            until(lambda before=leases: ground.number("select count(*) from audit_leases") > before)  # type: ignore[misc]
            crossed_at = ground.number("select extract(epoch from clock_timestamp())")
            ground.hold(OVER_BYTES)
            until(lambda: _admission(fleet)["slots"] == 0 and not any(worker["job_id"] for worker in fleet.workers()))
            last_at = ground.number("select extract(epoch from max(at)) from audit_leases")
            longest_seconds = max(longest_seconds, last_at - crossed_at)
            ground.hold(LOW_BYTES)
    return round(1000 * longest_seconds, 1)


def _flapping_ratio(ground: Ground, seconds: float) -> float:
    with ground.fleets(ollama_memory_limit=LIMIT_BYTES, admission_sample_seconds=FLAP_SAMPLE_SECONDS) as (fleet,):
        enter_texts(ground.owner, ["two plus two is four"] * JOBS)
        until(lambda: _admission(fleet)["slots"] >= WORKERS and ground.results() > 0)
        steady = _done_within(ground, seconds, is_flapping=False)
        flapping = _done_within(ground, seconds, is_flapping=True)
    return round(flapping / steady, 3)


def _done_within(ground: Ground, seconds: float, *, is_flapping: bool) -> int:
    before, end_seconds = ground.results(), time.monotonic() + seconds
    while (left_seconds := end_seconds - time.monotonic()) > 0:
        if is_flapping:
            ground.hold(OVER_BYTES)
            time.sleep(min(FLAP_OVER_SECONDS, left_seconds))
            ground.hold(LOW_BYTES)
        time.sleep(max(0.0, min(FLAP_UNDER_SECONDS, end_seconds - time.monotonic())))
    return ground.results() - before


def _storm(ground: Ground, storm_seconds: float) -> dict[str, float]:
    jobs = JOBS // 8
    with ground.fleets(INSTANCES) as fleets:
        ground.simulator.reset_calls()
        enter_texts(ground.owner, ["two plus two is four"] * jobs)
        until(lambda: _calls(ground) == PARALLEL)
        ground.simulator.fault("status_503", FEEDBACK_MODEL, times=100_000)
        time.sleep(storm_seconds)
        ground.simulator.clear_faults()
        ended_at_seconds = time.monotonic()
        until(lambda: _calls(ground) == PARALLEL)
        recovery_seconds = time.monotonic() - ended_at_seconds
        until(lambda: is_empty(ground.owner), WORK_LIMIT_SECONDS)
        most = ground.simulator.state()["models"][FEEDBACK_MODEL]["max_in_flight"]
        assert all(fleet.process.poll() is None for fleet in fleets)
    lost = jobs - int(ground.number(DONE_ONCE))
    return {"recovery_s": round(recovery_seconds, 2), "lost": lost, "max_in_flight": most, "num_parallel": PARALLEL}


def _phased_seconds(photos: int, *, is_phased: bool) -> float:
    """From the photos' entry to an empty queue; all workers are idle before, no model is loaded."""
    with opened(max_loaded_models=1, load_seconds=PHASED_LOAD_SECONDS) as ground, ExitStack() as stack:
        ground.hold(0)  # gone from the list is gone from memory
        patient = {"ai_timeout_vision": 300, "ai_timeout_feedback": 300}
        if is_phased:
            stack.enter_context(ground.fleets(ollama_max_loaded_models=1, **patient))
        else:
            stack.enter_context(_bare_workers(ground, ground.settings(**patient)))
        photo = next(each for each in demo_submissions() if each.mime_type == "image/png")
        began_at_seconds = time.monotonic()
        enter_all(ground.owner, [photo] * photos, storage_root=ground.home)
        until(lambda: is_empty(ground.owner), within_seconds=photos * 4 * PHASED_LOAD_SECONDS)
        return time.monotonic() - began_at_seconds


@contextmanager
def _bare_workers(ground: Ground, settings: dict[str, str]) -> Iterator[None]:
    """As many serial loops without a monitor: each asks for the model that its own job needs next."""
    environment = {
        "PYTHONPATH": str(PROJECT_ROOT),
        "LEARNING_DATABASE_URL": ground.database.worker_dsn,
        "AI_BACKEND": "local",
        "OLLAMA_BASE_URL": ground.simulator.url,
        **settings,
    }
    started = [
        subprocess.Popen(BARE, cwd=ground.home, env=environment, stderr=subprocess.DEVNULL, preexec_fn=die_with(os.getpid()))  # noqa: PLW1509
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


def _calls(ground: Ground) -> int:
    running: int = ground.simulator.state()["models"][FEEDBACK_MODEL]["running"]
    return running
