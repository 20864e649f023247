"""The metrics of admission: what the watch of Ollama has seen and decided, and what workers tell of their calls to models."""

import functools
from collections import Counter as Counts
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from supervisor.admission.anomalies import AnomalyKind
from supervisor.admission.facts import HostMeasured
from supervisor.monitor.ollama.counters import ModelOperation, counter_totals
from supervisor.monitor.ollama.view import AdmissionView
from worker.ipc.contract import HoldReason, ModelCall, Step
from worker.ipc.scoreboard import Scoreboard

SECONDS_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_SPEEDS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


class CallMetrics:
    """What workers tell of each call to a model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by_step = functools.partial(Histogram, labelnames=["step"], registry=registry, buckets=SECONDS_BUCKETS)
        self._first_token = by_step("learning_first_token_seconds", "from the request to its first token")
        self._speed = by_step("learning_tokens_per_second", "speed of whole answers", buckets=_SPEEDS)
        self._load = by_step("learning_call_load_seconds", "load of the model that a call paid for")
        self._wait = by_step("learning_call_wait_seconds", "wait for a slot of the loaded model")

    def observe(self, step: Step, call: ModelCall) -> None:
        seen = (
            (self._first_token, call.first_token_seconds),
            (self._speed, call.tokens_per_second),
            (self._load, call.load_seconds),
            (self._wait, call.wait_seconds),
        )
        for histogram, value in seen:
            if value is not None:
                histogram.labels(step.value).observe(value)


def admission_metrics(admission: AdmissionView) -> Iterable[Metric]:
    """What is admitted, why not more, and what Ollama and this host have."""
    decision, state, policy = admission.decision, admission.state, admission.policy
    yield GaugeMetricFamily("learning_admission_slots", "slots that may lease; 64: no bound", decision.slots)
    calls = {"vision": decision.calls_of(policy.vision_model), "feedback": decision.calls_of(policy.feedback_model)}
    yield _gauge("learning_admission_calls", "calls a model may have at once; 64: no bound", "step", calls)
    held = {reason.name.lower(): reason in decision.reasons for reason in HoldReason if reason is not HoldReason.NONE}
    yield _gauge("learning_admission_held", "1 while this holds something back", "reason", held)
    is_told = state.listed_at_seconds is not None and state.list_failure is None
    yield GaugeMetricFamily("learning_ollama_answers", "1 while /api/ps tells what is loaded", is_told)
    sizes = {"reported": state.reported_bytes, "observed": state.observed_bytes, "limit": policy.limit_bytes}
    yield _gauge("learning_ollama_bytes", "memory of Ollama by who says so, and its limit", "source", sizes)
    yield from _host(state.host)
    found = Counts(note.kind for note in admission.notes())
    yield _gauge(
        "learning_ollama_notes", "what of /api/ps cannot be believed now", "note", {x.name.lower(): found[x] for x in AnomalyKind}
    )


def counter_metrics(scoreboard: Scoreboard) -> Iterable[Metric]:
    """Totals, which outlive the monitor that counted them."""
    deeds = CounterMetricFamily("learning_model_loads", "models loaded before work, or asked to leave", labels=["what"])
    ends = CounterMetricFamily("learning_model_call_ends", "calls to a model by how they ended", labels=["step", "outcome"])
    for counted, total in counter_totals(scoreboard):
        if isinstance(counted, ModelOperation):
            deeds.add_metric([counted.value], total)
        else:
            ends.add_metric([each.value for each in counted], total)
    return deeds, ends


def _host(host: HostMeasured | None) -> Iterable[Metric]:
    available_bytes, pressure = (host.available_bytes, host.pressure or 0.0) if host else (0, 0.0)
    yield GaugeMetricFamily("learning_host_available_bytes", "memory of this host that is free for use", available_bytes)
    gpu_free_bytes = host.gpu_free_bytes if host else None  # None: no sample, as a card that is full has 0
    yield GaugeMetricFamily("learning_gpu_free_bytes", "memory of this host's cards that nobody holds", gpu_free_bytes)
    yield GaugeMetricFamily("learning_host_memory_pressure", "share of time in which somebody waited for memory", pressure)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    gauge = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        gauge.add_metric([value], number)
    return gauge
