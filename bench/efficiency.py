"""How much of the workers' time goes into jobs: the greedy makespan of the same durations in the same order, over ours."""

import random

from bench.makespan import greedy_seconds, measured_seconds

JOBS, SEED = 600, 1
MEDIAN_SECONDS, SIGMA = 0.1, 0.6


def measure(jobs: int = JOBS) -> dict[str, float]:
    """Log-normal durations, fsync on. The goal is 0.98."""
    chance = random.Random(SEED)
    durations = [round(MEDIAN_SECONDS * chance.lognormvariate(0.0, SIGMA), 6) for _ in range(jobs)]
    return {
        f"efficiency_{workers}": round(greedy_seconds(durations, workers) / measured_seconds(durations, workers), 3)
        for workers in (4, 8)
    }
