"""Each benchmark, small: that it runs and what it tells; its figures are for `scripts/bench` alone."""

from typing import Any

import pytest

from bench import (
    admission,
    backlog,
    crash_loop,
    efficiency,
    horizon,
    idle,
    instances,
    memory,
    orphans,
    pickup,
    queue,
    rejob,
    respawn,
    soak,
)

SMALL: dict[str, tuple[Any, dict[str, float], set[str]]] = {
    "respawn": (respawn, {"kills": 2, "workers": 2}, {"p50_ms", "max_ms", "bare_p50_ms"}),
    "crashloop": (crash_loop, {"workers": 1, "seconds": 0.5}, {"forks_per_slot", "cpu_seconds"}),
    "orphans": (orphans, {"rounds": 1}, {"max_ms"}),
    "memory": (memory, {"workers": 1, "jobs": 2}, {"uss_idle_mb", "uss_busy_mb", "supervisor_rss_mb"}),
    "idle": (idle, {"workers": 1, "seconds": 1.5}, {"supervisor_cpu_percent", "all_cpu_percent"}),
    "rejob": (rejob, {"kills": 2, "workers": 3}, {"p50_ms", "max_ms"}),
    "soak": (soak, {"recycles": 3, "warm_up": 1}, {"fd_growth", "thread_growth", "zombies", "rss_growth_mb"}),
}
OF_THE_QUEUE: dict[str, tuple[Any, dict[str, float], set[str]]] = {
    "queue": (queue, {"jobs": 400, "warm_up": 50, "rounds": 1}, {"jobs_per_second", "pgbench_jobs_per_second", "ratio"}),
    "pickup": (pickup, {"jobs": 5, "workers": 2}, {"p50_ms", "p95_ms"}),
    "backlog": (backlog, {"rows": 5_000}, {"rate_1k", "rate_1m", "ratio", "ratio_same_visible_at"}),
    "horizon": (horizon, {"jobs": 500}, {"rate_before", "rate_after", "ratio"}),
    "efficiency": (efficiency, {"jobs": 40}, {"efficiency_4", "efficiency_8"}),
    "instances": (instances, {"jobs": 40}, {"speedup_2"}),
}
OF_ADMISSION = {"hold_ms", "flapping_ratio", "recovery_s", "lost", "max_in_flight", "num_parallel", "phasing_gain"}


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.second_tier) for name in OF_THE_QUEUE)])
def test_a_benchmark_tells_what_it_promises(name: str) -> None:
    """It comes to its end with real processes, under the keys that its readers know, and has measured something."""
    module, numbers, keys = (SMALL | OF_THE_QUEUE)[name]
    figures = module.measure(**numbers)
    assert set(figures) == keys
    assert figures["zombies"] == 0 if name == "soak" else all(figure > 0 for figure in figures.values())


@pytest.mark.second_tier
def test_the_benchmark_of_admission_loses_nothing() -> None:
    """It tells what it deadlines; in its storm no submission is lost, and the model has never more calls than places."""
    figures = admission.measure(rounds=1, seconds=6.0, storm_seconds=1.0, photos=4)
    assert set(figures) == OF_ADMISSION
    assert figures["lost"] == 0
    assert 0 < figures["max_in_flight"] <= figures["num_parallel"]
