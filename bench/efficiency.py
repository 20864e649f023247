"""Efficiency: the ideal time for the same jobs in the same order, divided by the measured time."""

import random
import statistics
from collections.abc import Iterator, Sequence

from bench.makespan import greedy_seconds, measured_seconds

JOBS, SEED, ROUNDS = 600, 1, 3
MEDIAN_SECONDS, SIGMA = 0.1, 0.6


def measure(jobs: int = JOBS, rounds: int = ROUNDS) -> dict[str, float]:
    """Measure with log-normal durations and fsync on. The goal is 0.98. Medians, because the last jobs vary a run by 0.002."""
    chance = random.Random(SEED)
    durations = [round(MEDIAN_SECONDS * chance.lognormvariate(0.0, SIGMA), 6) for _ in range(jobs)]
    return {f"efficiency_{workers}": round(statistics.median(_runs(durations, workers, rounds)), 3) for workers in (4, 8)}


def _runs(durations: Sequence[float], workers: int, rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        yield greedy_seconds(durations, workers) / measured_seconds(durations, workers)
