"""Metrics of admission: measurements, decisions, and the calls of workers to models."""

import functools
from collections import Counter as Counts
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from supervisor.admission.anomalies import AnomalyKind
from supervisor.admission.decision import HoldReason
from supervisor.admission.facts import HostMeasured
from supervisor.monitor.ollama.counters import ModelOperation, counter_totals
from supervisor.monitor.ollama.view import AdmissionView
from worker.ipc.contract import ModelCall, Step
from worker.ipc.scoreboard import Scoreboard

SECONDS_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_SPEED_BUCKETS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


class CallMetrics:
    """Histograms of the calls to a model, from the events of workers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by_step = functools.partial(Histogram, labelnames=["step"], registry=registry, buckets=SECONDS_BUCKETS)
        self._first_token = by_step("learning_first_token_seconds", "time from a request to its first token")
        self._speed = by_step("learning_tokens_per_second", "tokens per second of complete answers", buckets=_SPEED_BUCKETS)
        self._load = by_step("learning_call_load_seconds", "time for which a call waited until its model was loaded")
        self._wait = by_step("learning_call_wait_seconds", "time for which a call waited for a free slot of the loaded model")

    def observe(self, step: Step, call: ModelCall) -> None:
        measured = (
            (self._first_token, call.first_token_seconds),
            (self._speed, call.tokens_per_second),
            (self._load, call.load_seconds),
            (self._wait, call.wait_seconds),
        )
        for histogram, value in measured:
            if value is not None:
                histogram.labels(step.value).observe(value)


def admission_metrics(admission: AdmissionView) -> Iterable[Metric]:
    """The decision, its reasons, and the measurements behind it."""
    decision, policy = admission.decision, admission.policy
    yield GaugeMetricFamily("learning_admission_slots", "slots that may lease (64: no limit)", decision.slots)
    calls = {"vision": decision.vision_calls(policy.vision_model), "feedback": decision.calls_of(policy.feedback_model)}
    yield _gauge("learning_admission_calls", "calls that a model may have at once (64: no limit)", "step", calls)
    held = {reason.name.lower(): reason in decision.reasons for reason in HoldReason if reason is not HoldReason.NONE}
    yield _gauge("learning_admission_held", "1 while work is held back for this reason", "reason", held)
    yield from _ollama(admission)
    yield from _host(admission.state.host)


def _ollama(admission: AdmissionView) -> Iterable[Metric]:
    state = admission.state
    is_listed = state.listed_at_seconds is not None and state.list_failure is None
    yield GaugeMetricFamily("learning_ollama_answers", "1 while Ollama answers /api/ps", is_listed)
    sizes = {"reported": state.reported_bytes, "observed": state.observed_bytes, "limit": admission.policy.limit_bytes}
    yield _gauge("learning_ollama_bytes", "memory of Ollama: reported by it, observed on this host, its limit", "source", sizes)
    found = Counts(anomaly.kind for anomaly in admission.anomalies())
    counts = {kind.name.lower(): found[kind] for kind in AnomalyKind}
    yield _gauge("learning_ollama_anomalies", "implausible or unexpected entries of /api/ps now", "anomaly", counts)


def counter_metrics(scoreboard: Scoreboard) -> Iterable[Metric]:
    """Totals of the scoreboard, which outlive the monitor that counted them."""
    record = scoreboard.admission.read()
    probes = CounterMetricFamily(
        "learning_model_probes", "requests of the monitor's own that a failing model answered", labels=["step"]
    )
    probes.add_metric(["vision"], record.vision_probes)
    probes.add_metric(["feedback"], record.feedback_probes)
    loads = CounterMetricFamily("learning_model_loads", "models loaded before work, failed to load, or unloaded", labels=["what"])
    ends = CounterMetricFamily("learning_model_call_ends", "calls to a model by outcome", labels=["step", "outcome"])
    for key, total in counter_totals(scoreboard):
        if isinstance(key, ModelOperation):
            loads.add_metric([key.value], total)
        else:
            ends.add_metric([each.value for each in key], total)
    return probes, loads, ends


def _host(host: HostMeasured | None) -> Iterable[Metric]:
    available_bytes, pressure = (host.available_bytes, host.pressure or 0.0) if host else (0, 0.0)
    yield GaugeMetricFamily("learning_host_available_bytes", "available memory of this host", available_bytes)
    gpu_free_bytes = host.gpu_free_bytes if host else None  # None gives no sample, because 0 means a full card
    yield GaugeMetricFamily("learning_gpu_free_bytes", "free memory of this host's GPUs", gpu_free_bytes)
    yield GaugeMetricFamily(
        "learning_host_memory_pressure", "share of the last 10 s in which a process waited for memory", pressure
    )


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    gauge = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        gauge.add_metric([value], number)
    return gauge
