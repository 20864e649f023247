"""Text of docs/metrics.md, generated from a scrape of a registry in which every family has a sample."""

from collections.abc import Iterator
from itertools import product
from uuid import UUID

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from supervisor.monitor.metrics import Metrics
from supervisor.monitor.state import MonitorState
from worker.core.abilities import KINDS, PROGRAM_FILES
from worker.ipc.contract import Activity, CallOutcome, Event, EventKind, ModelCall, Obstacle, Step
from worker.ipc.scoreboard import FleetRecord, LedgerRecord, Scoreboard, WorkerRecord
from worker.queue.polls import LeftQueued

_JOB_STEPS = {Activity.READ: 1.0, Activity.VISION: 1.0, Activity.FEEDBACK: 1.0, Activity.SETTLE: 1.0}
_CALL = ModelCall(CallOutcome.ANSWERED, first_token_seconds=1, tokens_per_second=1, load_seconds=1, wait_seconds=1)
_LEFT = tuple(LeftQueued(kind, obstacle, 1) for kind, obstacle in product((*KINDS, *PROGRAM_FILES.values(), "other"), Obstacle))
_HEAD = """\
# Metrics

`scripts/settings` generates this page. Names and help are in [supervisor/monitor/metrics.py](../supervisor/monitor/metrics.py)
and [supervisor/monitor/ollama/metrics.py](../supervisor/monitor/ollama/metrics.py). To add a metric, follow
[adding-a-metric.md](adding-a-metric.md).

The monitor serves `/metrics` in the text format of Prometheus at `STATUS_ADDR`, by default
`http://127.0.0.1:9464/metrics`. The address is loopback only. `/healthz` at the same address has the first line of `status`, with
HTTP status 200 if jobs are processed and 503 if not.

Counters start at zero with the supervisor. They continue when a worker or the monitor is replaced. Label values come from fixed
lists and never from a submission.

The platform's dashboards read `analysis_jobs_inflight`, `ai_worker_processed_total`, `ai_worker_retry_total`,
`ai_worker_failed_total` and `ai_worker_duration_seconds`. These names do not change.

## Recommended alerts

* no reply from `/metrics`: the service does not run
* `learning_database_connected == 0` for a minute: no job is processed
* `learning_admission_held{reason="memory"} == 1` or `{reason="unknown"} == 1` for five minutes: no new job starts, see
  [held back](ollama.md#held-back)
* `learning_queue_oldest_wait_seconds` above what a class can wait: the models are too slow for the number of submissions
* an increase of `learning_jobs_held_total` for five minutes without one of `ai_worker_processed_total{status="completed"}`: each
  call of an adapter of another package fails, see [errors](platform-adapters.md#errors)
* an increase of `ai_worker_failed_total{error_code="worker_crashed"}`: a job that killed its workers was quarantined, see
  [failed jobs](operations.md#failed-jobs)
* an increase of `learning_writes_rejected_total`: a lease ran out before its job ended

## All metrics

| Metric | Type | Labels | Meaning |
|---|---|---|---|
"""


def metrics_page() -> str:
    """Content of docs/metrics.md: the alerts, then one table row per metric in the order of a scrape."""
    return _HEAD + "".join(map(_row, families()))


def families() -> Iterator[Metric]:
    """Metric families of a registry with one worker, one finished job and one call to each model."""
    scoreboard, state = Scoreboard(), MonitorState(left_queued=_LEFT)
    scoreboard.ledgers[0].write(LedgerRecord(pid=1, starts=1, rss_bytes=1))
    scoreboard.write_worker(0, WorkerRecord(incarnation=1, activity=Activity.IDLE, uss_bytes=1))
    scoreboard.fleet.write(FleetRecord(wanted=1))
    metrics = Metrics(scoreboard, state)
    metrics.observe(Event(kind=EventKind.SETTLED, job_id=UUID(int=1), seconds=4, steps=_JOB_STEPS))
    for step in Step:
        metrics.observe(Event(kind=EventKind.CALL, step=step, call=_CALL))
    scraped = text_string_to_metric_families(metrics.exposition().decode())
    return (family for family in scraped if not family.name.endswith("_created"))  # times that prometheus_client adds


def _row(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return f"| `{name}` | {family.type} | {_labels(family)} | {family.documentation} |\n"


def _labels(family: Metric) -> str:
    """Each label with its values, which are left out where they are numbers of slots."""
    values: dict[str, list[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le" and value not in values.setdefault(label, []):
                values[label].append(value)
    return "<br>".join(_label(label, found) for label, found in values.items())


def _label(label: str, values: list[str]) -> str:
    return f"`{label}`" if all(value.isdigit() for value in values) else f"`{label}`: {', '.join(values)}"
