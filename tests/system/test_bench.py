"""Each benchmark of the supervisor, small: that it runs and what it tells; its figures are for `scripts/bench` alone."""

from typing import Any

import pytest

from bench import crash_loop, idle, memory, orphans, rejob, respawn, soak

SMALL: dict[str, tuple[Any, dict[str, float], set[str]]] = {
    "respawn": (respawn, {"kills": 2, "workers": 2}, {"p50_ms", "max_ms", "bare_p50_ms"}),
    "crashloop": (crash_loop, {"workers": 1, "seconds": 0.5}, {"forks_per_slot", "cpu_seconds"}),
    "orphans": (orphans, {"rounds": 1}, {"max_ms"}),
    "memory": (memory, {"workers": 1, "jobs": 2}, {"uss_idle_mb", "uss_busy_mb", "supervisor_rss_mb"}),
    "idle": (idle, {"workers": 1, "seconds": 1.5}, {"supervisor_cpu_percent", "all_cpu_percent"}),
    "rejob": (rejob, {"kills": 2, "workers": 3}, {"p50_ms", "max_ms"}),
    "soak": (soak, {"recycles": 3, "warm_up": 1}, {"fd_growth", "thread_growth", "zombies", "rss_growth_mb"}),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_tells_what_it_promises(name: str) -> None:
    """It comes to its end with real processes, under the keys that its readers know, and has measured something."""
    module, numbers, keys = SMALL[name]
    figures = module.measure(**numbers)
    assert set(figures) == keys
    assert figures["zombies"] == 0 if name == "soak" else all(figure > 0 for figure in figures.values())
