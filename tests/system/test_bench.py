"""Each benchmark with small numbers: it runs and returns its figures. The figures themselves are not checked."""

from typing import Any

import pytest

from bench import (
    admission,
    backlog,
    efficiency,
    idle,
    instances,
    job_recovery,
    memory,
    open_snapshot,
    pickup,
    queue,
    respawn,
    soak,
)

SMALL: dict[str, tuple[Any, dict[str, float], set[str]]] = {
    "respawn": (respawn, {"kills": 2, "workers": 2}, {"p50_ms", "max_ms", "bare_p50_ms"}),
    "memory": (memory, {"workers": 1, "jobs": 2}, {"uss_idle_mb", "uss_busy_mb", "supervisor_rss_mb"}),
    "idle": (idle, {"workers": 1, "seconds": 1.5}, {"supervisor_cpu_percent", "all_cpu_percent"}),
    "recovery": (job_recovery, {"kills": 2, "workers": 3}, {"p50_ms", "max_ms"}),
    "soak": (soak, {"recycles": 3, "warm_up": 1}, {"fd_growth", "thread_growth", "zombies", "rss_growth_mb"}),
}
OF_THE_QUEUE: dict[str, tuple[Any, dict[str, float], set[str]]] = {
    "queue": (queue, {"jobs": 400, "warm_up": 50, "rounds": 1}, {"jobs_per_second", "pgbench_jobs_per_second", "ratio"}),
    "pickup": (pickup, {"jobs": 5, "workers": 2}, {"p50_ms", "p95_ms"}),
    "backlog": (backlog, {"rows": 5_000}, {"rate_1k", "rate_1m", "ratio", "ratio_same_visible_at"}),
    "snapshot": (open_snapshot, {"jobs": 500}, {"rate_before", "rate_after", "ratio"}),
    "efficiency": (efficiency, {"jobs": 40}, {"efficiency_4", "efficiency_8"}),
    "instances": (instances, {"jobs": 40}, {"speedup_2"}),
}
OF_ADMISSION = {"hold_ms", "flapping_ratio", "recovery_s", "lost", "max_in_flight", "num_parallel", "phasing_gain"}


LATER = (pytest.param(name, marks=pytest.mark.second_tier) for name in SMALL | OF_THE_QUEUE if name != "pickup")


@pytest.mark.parametrize("name", ["pickup", *LATER])
def test_a_benchmark_returns_its_figures(name: str) -> None:
    """It ends with real processes and returns the documented keys with values."""
    module, numbers, keys = (SMALL | OF_THE_QUEUE)[name]
    figures = module.measure(**numbers)
    assert set(figures) == keys
    assert figures["zombies"] == 0 if name == "soak" else all(figure > 0 for figure in figures.values())


@pytest.mark.second_tier
def test_the_benchmark_of_admission_loses_nothing() -> None:
    """It returns its figures, loses no submission in its storm, and the model never has more calls than permits."""
    figures = admission.measure(rounds=1, seconds=6.0, storm_seconds=1.0, photos=4)
    assert set(figures) == OF_ADMISSION
    assert figures["lost"] == 0
    assert 0 < figures["max_in_flight"] <= figures["num_parallel"]
