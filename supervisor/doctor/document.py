"""The report as one JSON document: the output of `doctor --json`."""

from collections.abc import Sequence

from supervisor.doctor.probe import Probe
from supervisor.doctor.run import DoctorReport, MemoryReport, ModelCheck
from supervisor.doctor.timeouts import TimeoutEstimate
from supervisor.findings import Finding, worst_level
from worker.ollama.models import ListedModel

Json = dict[str, object]


def document(report: DoctorReport, findings: Sequence[Finding]) -> Json:
    """Sizes in bytes, durations in seconds. `state` is the worst level of the findings: ok, warning or failed."""
    return {
        "state": worst_level(findings).value,
        "server": {"url": report.base_url, "version": report.version},
        "models": [_model(check) for check in report.models],
        "memory": _memory(report.memory) if report.memory else None,
        "environment": {line.variable: line.value for line in report.memory.lines} if report.memory else {},
        "findings": [{"level": each.level.value, "subject": each.subject, "remedy": each.remedy} for each in findings],
    }


def _model(check: ModelCheck) -> Json:
    return {
        "name": check.name,
        "steps": [step.value for step in check.steps],
        "file": _file(check),
        "loaded": _loaded(check.loaded),
        "probes": [{"step": step.value, **_probe(probe)} for step, probe in check.probes],
        "timeouts": [_timeout(estimate) for estimate in check.timeouts],
    }


def _file(check: ModelCheck) -> Json | None:
    model = check.model
    if model is None:
        return None
    return {
        "family": model.family,
        "parameter_size": model.parameter_size,
        "quantisation": model.quantisation,
        "weight_bits": model.weight_bits,
        "capabilities": list(model.capabilities),
    }


def _loaded(loaded: ListedModel | None) -> Json | None:
    if loaded is None:
        return None
    return {
        "size_bytes": loaded.size,
        "gpu_bytes": loaded.size_vram,
        "context_tokens": loaded.context_length,
    }


def _probe(probe: Probe) -> Json:
    return {
        "kind": probe.kind.value,
        "outcome": probe.outcome.value,
        "detail": probe.detail,
        "prompt_tokens": probe.prompt_tokens,
        "prompt_seconds": probe.prompt_seconds,
        "tokens": probe.tokens,
        "tokens_seconds": probe.tokens_seconds,
    }


def _timeout(estimate: TimeoutEstimate) -> Json:
    return {
        "step": estimate.step.value,
        "tokens_per_second": estimate.tokens_per_second,
        "prompt_seconds": estimate.prompt_seconds,
        "answer_tokens": estimate.answer_tokens,
        "needed_seconds": estimate.needed_seconds,
        "timeout_seconds": estimate.timeout_seconds,
        "sufficient_seconds": estimate.sufficient_seconds,
    }


def _memory(memory: MemoryReport) -> Json:
    plan, names = memory.plan, [use.model.name for use in memory.uses]
    return {
        "location": memory.location.value,
        "models": {
            name: [{"what": term.what, "bytes": term.bytes, "how": term.how} for term in terms]
            for name, terms in zip(names, plan.need.models, strict=True)
        },
        "workers_bytes": plan.need.workers.bytes,
        "together_bytes": plan.need.together_bytes,
        "budget_bytes": memory.budget.bytes if memory.budget else None,
        "gpu_budget_bytes": memory.gpu.bytes if memory.gpu else None,
        "fit": plan.fit.value,
        "cache_type": plan.need.cache_type.word,
        "num_parallel": plan.need.num_parallel,
        "largest_num_parallel": plan.largest_num_parallel,
        "useful_workers": plan.useful_workers,
    }
