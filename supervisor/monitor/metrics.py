"""The only registry of prometheus_client. Totals are read from the scoreboard at each scrape, durations come from events."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from supervisor.core.fleet import ExitCause, SlotState, crashes
from supervisor.monitor.ollama.metrics import SECONDS_BUCKETS, CallMetrics, admission_metrics, counter_metrics
from supervisor.monitor.progress import standing_seconds
from supervisor.monitor.slot_status import SlotStatus, present, slot_statuses
from supervisor.monitor.state import MonitorState
from supervisor.monitor.status import STATES, summary
from supervisor.monitor.work import completed_at_seconds, work_facts
from worker.ipc.contract import FAILURE_COUNTERS, REFUSAL_COUNTERS, WORKER_CRASHED, Counter, Event, EventKind
from worker.ipc.scoreboard import Scoreboard

_COUNTERS = {
    "learning_ocr_reused": (Counter.OCR_REUSED, "jobs that reused the OCR text of an earlier try"),
    "learning_pages_reused": (Counter.PAGES_REUSED, "PDF pages that reused the text of an earlier try"),
    "learning_runaway_answers": (Counter.RUNAWAYS, "answers cut off because the model repeated itself or did not stop"),
    "learning_reasons_missing": (
        Counter.REASONS_MISSING,
        "scores for which a model gave no reason, stored with a standard sentence",
    ),
    "learning_usage_events_recorded": (Counter.USAGE_RECORDED, "answers of models whose tokens the platform has recorded"),
    "learning_usage_events_invalid": (
        Counter.USAGE_INVALID,
        "usage events of adapters left out because the platform refuses such",
    ),
    "learning_usage_events_refused": (Counter.USAGE_REFUSED, "usage events that the database has refused to record"),
    "learning_writes_rejected": (Counter.REJECTED_BY_FENCE, "results not written because the lease was taken over"),
    "learning_adapter_bugs": (Counter.ADAPTER_BUGS, "unexpected exceptions of an adapter"),
    "learning_jobs_held": (
        Counter.HELD,
        "jobs given back without an attempt for a fault of the surroundings, or what may be one",
    ),
    "learning_jobs_held_too_long": (Counter.HELD_TOO_LONG, "jobs that failed because they were held beyond their greatest age"),
    "learning_events_dropped": (Counter.EVENTS_DROPPED, "events of workers dropped because the monitor's socket was full"),
}


class Metrics:
    """`observe` records a worker's event. `exposition` is the body of a scrape."""

    def __init__(self, scoreboard: Scoreboard, state: MonitorState) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Totals(scoreboard, state))
        self._durations = Histogram(
            "ai_worker_duration_seconds",
            "duration of a job and of each of its steps",
            ["step"],
            registry=self._registry,
            buckets=SECONDS_BUCKETS,
        )
        self._calls = CallMetrics(self._registry)

    def observe(self, event: Event) -> None:
        if event.kind is EventKind.SETTLED:
            self._durations.labels("job").observe(event.seconds)
            for activity, seconds in event.steps.items():
                self._durations.labels(activity.name.lower()).observe(seconds)
        if event.step is not None and event.call is not None:
            self._calls.observe(event.step, event.call)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)


class _Totals(Collector):
    """Totals of the scoreboard, read at each scrape. They survive every process except the supervisor."""

    def __init__(self, scoreboard: Scoreboard, state: MonitorState) -> None:
        self._scoreboard, self._state = scoreboard, state

    def collect(self) -> Iterable[Metric]:
        slots = slot_statuses(self._scoreboard)
        busy = sum(slot.is_busy for slot in slots)
        yield GaugeMetricFamily("analysis_jobs_inflight", "jobs that workers are processing now", busy)
        yield from self._outcomes(slots)
        for name, (counter, text) in _COUNTERS.items():
            yield CounterMetricFamily(name, text, _sum(slots, counter))
        yield _model_calls(slots)
        yield _refused_files(slots)
        yield from self._processes(slots)
        yield from self._memory()
        yield from admission_metrics(self._state.admission)
        yield from counter_metrics(self._scoreboard)
        wanted = self._scoreboard.fleet.read().wanted
        yield GaugeMetricFamily("learning_workers_wanted", "workers that should run", wanted)
        yield from self._queue()
        yield from self._progress()

    def _outcomes(self, slots: list[SlotStatus]) -> Iterable[Metric]:
        processed = CounterMetricFamily("ai_worker_processed", "finished jobs by outcome", labels=["status"])
        failed = CounterMetricFamily("ai_worker_failed", "submissions that failed permanently", labels=["error_code"])
        retried = CounterMetricFamily("ai_worker_retry", "jobs put back after a transient error", labels=["phase"])
        quarantined = self._scoreboard.monitor.read().quarantined + _sum(slots, Counter.QUARANTINED)
        by_code = {code: _sum(slots, counter) for code, counter in FAILURE_COUNTERS.items()}
        processed.add_metric(["completed"], _sum(slots, Counter.COMPLETED))
        processed.add_metric(["failed"], sum(by_code.values()) + quarantined)
        processed.add_metric(["returned"], _sum(slots, Counter.RELEASED))
        for code, total in by_code.items():
            failed.add_metric([str(code)], total)
        failed.add_metric([WORKER_CRASHED], quarantined)
        retried.add_metric(["vision"], _sum(slots, Counter.RETRIED_VISION))
        retried.add_metric(["feedback"], _sum(slots, Counter.RETRIED_FEEDBACK))
        return processed, failed, retried

    def _processes(self, slots: list[SlotStatus]) -> Iterable[Metric]:
        states = GaugeMetricFamily("learning_workers", "slots by state", labels=["state"])
        for state in SlotState:
            states.add_metric([state.name.lower()], sum(slot.ledger.state == state for slot in slots))
        monitor = self._scoreboard.monitor_ledger.read()
        starts = CounterMetricFamily("learning_process_starts", "processes started", labels=["role"])
        crashed = CounterMetricFamily("learning_process_crashes", "unexpected exits", labels=["role"])
        by_cause = CounterMetricFamily("learning_worker_crashes", "unexpected exits of workers by cause", labels=["cause"])
        starts.add_metric(["worker"], sum(slot.ledger.starts for slot in slots))
        starts.add_metric(["monitor"], monitor.starts)
        crashed.add_metric(["worker"], sum(crashes(slot.ledger.ends_by_cause) for slot in slots))
        crashed.add_metric(["monitor"], crashes(monitor.ends_by_cause))
        for cause in (cause for cause in ExitCause if cause.is_crash):
            by_cause.add_metric([cause.word], sum(slot.ledger.ends_by_cause[cause] for slot in slots))
        return states, starts, crashed, by_cause

    def _memory(self) -> Iterable[Metric]:
        """One series for each present slot, so that no series outlives its worker."""
        rss = GaugeMetricFamily(
            "learning_worker_rss_bytes", "resident memory of a worker, measured by the supervisor", labels=["slot"]
        )
        uss = GaugeMetricFamily("learning_worker_uss_bytes", "memory of a worker alone, measured between jobs", labels=["slot"])
        for slot in present(self._scoreboard):
            for gauge, size_bytes in ((rss, slot.ledger.rss_bytes), (uss, slot.uss_bytes)):
                if slot.ledger.pid and size_bytes:
                    gauge.add_metric([str(slot.number)], size_bytes)
        return rss, uss

    def _queue(self) -> Iterable[Metric]:
        stats, monitor_record = self._state.stats, self._scoreboard.monitor.read()
        jobs = GaugeMetricFamily("learning_queue_jobs", "jobs by status, counted up to a limit", labels=["status"])
        for status in ("queued", "leased", "failed"):
            jobs.add_metric([status], getattr(stats, status))
        yield jobs
        left = GaugeMetricFamily(
            "learning_jobs_left_queued",
            "jobs that stay queued because this instance cannot do them, counted up to a limit",
            labels=["kind", "cause"],
        )
        for each in self._state.left_queued:
            left.add_metric([each.kind, each.obstacle], each.jobs)
        yield left
        refused, stuck = len(self._state.refused_rows.rows), len(self._state.stuck_jobs)
        yield GaugeMetricFamily("learning_queue_refused_jobs", "jobs whose rows the database refuses to change", refused)
        yield GaugeMetricFamily("learning_queue_stuck_jobs", "jobs that no worker can ever take", stuck)
        ahead = "jobs that wait because the clock of the database was ahead when they were written"
        yield GaugeMetricFamily("learning_queue_jobs_ahead", ahead, self._state.jobs_ahead.count)
        wait_seconds, is_connected = stats.oldest_wait_seconds or 0, self._state.is_connected
        yield GaugeMetricFamily("learning_queue_oldest_wait_seconds", "wait of the oldest job that may be leased", wait_seconds)
        yield GaugeMetricFamily("learning_database_connected", "1 while the database answers the monitor", is_connected)
        yield CounterMetricFamily(
            "learning_leases_reclaimed", "reclaimed leases of dead workers", monitor_record.leases_reclaimed
        )

    def _progress(self) -> Iterable[Metric]:
        """Ages are left out before the first progress or completed job, as 0 would mean just now."""
        now_seconds, board, state = time.monotonic(), self._scoreboard, self._state
        facts, completed_seconds = work_facts(board, state, now_seconds), completed_at_seconds(board)
        states = GaugeMetricFamily("learning_status", "1 for the present state of `status`", labels=["state"])
        current, _ = summary(board, state)
        for each in STATES:
            states.add_metric([each], each == current)
        yield states
        standing = standing_seconds(state.progress.watch, facts)
        yield GaugeMetricFamily("learning_standing_seconds", "time for which work has waited without progress", standing)
        advanced = GaugeMetricFamily("learning_progress_age_seconds", "time since the last token, page or end of a job")
        completed = GaugeMetricFamily("learning_success_age_seconds", "time since the last completed job")
        for gauge, at_seconds in ((advanced, facts.advanced_at_seconds), (completed, completed_seconds)):
            if at_seconds:
                gauge.add_metric([], now_seconds - at_seconds)
            yield gauge
        yield self._steps(now_seconds)

    def _steps(self, now_seconds: float) -> Metric:
        ages = GaugeMetricFamily("learning_worker_step_seconds", "age of the step that a worker is in", labels=["slot"])
        for slot in present(self._scoreboard):
            if (age_seconds := slot.activity_seconds(now_seconds)) is not None:
                ages.add_metric([str(slot.number)], age_seconds)
        return ages


def _model_calls(slots: list[SlotStatus]) -> Metric:
    calls = CounterMetricFamily("learning_model_calls", "calls to an adapter", labels=["step"])
    calls.add_metric(["vision"], _sum(slots, Counter.VISION_CALLS))
    calls.add_metric(["feedback"], _sum(slots, Counter.FEEDBACK_CALLS))
    return calls


def _refused_files(slots: list[SlotStatus]) -> Metric:
    refused = CounterMetricFamily("learning_files_refused", "submissions that failed because of their file", labels=["reason"])
    for reason, counter in REFUSAL_COUNTERS.items():
        refused.add_metric([reason], _sum(slots, counter))
    return refused


def _sum(slots: list[SlotStatus], counter: Counter) -> int:
    return sum(slot.total(counter) for slot in slots)
