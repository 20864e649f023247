"""The speed-up by a second instance on the same queue."""

from bench.makespan import measured_seconds

WORKERS, JOBS = 4, 400
JOB_SECONDS = 0.1


def measure(jobs: int = JOBS) -> dict[str, float]:
    """Measure jobs that only wait, with four workers in each instance. The goal is 1.9."""
    durations = [JOB_SECONDS] * jobs
    return {"speedup_2": round(measured_seconds(durations, WORKERS) / measured_seconds(durations, WORKERS, instances=2), 3)}
