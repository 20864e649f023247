"""The examination as one JSON document: what `doctor --json` prints."""

from collections.abc import Sequence

from supervisor.doctor.probe import Probe
from supervisor.doctor.run import DoctorReport, Memory, ModelCheck
from supervisor.doctor.timeouts import TimeoutEstimate
from supervisor.findings import Finding, Level

Json = dict[str, object]


def document(examination: DoctorReport, findings: Sequence[Finding]) -> Json:
    """Bytes, seconds, tokens. `state` is the worst of the findings' levels: ok, warning or failed."""
    levels = {finding.level for finding in findings}
    worst = next((level for level in (Level.FAILED, Level.WARNING) if level in levels), Level.OK)
    return {
        "state": worst.name.lower(),
        "server": {"url": examination.base_url, "version": examination.version},
        "models": [_patient(patient) for patient in examination.patients],
        "memory": _memory(examination.memory) if examination.memory else None,
        "environment": {line.variable: line.value for line in examination.memory.lines} if examination.memory else {},
        "findings": [{"level": each.level.name.lower(), "subject": each.subject, "remedy": each.remedy} for each in findings],
    }


def _patient(patient: ModelCheck) -> Json:
    model, loaded = patient.model, patient.loaded
    of_file = model and {
        "family": model.family,
        "parameter_size": model.parameter_size,
        "quantisation": model.quantisation,
        "weight_bits": model.weight_bits,
        "capabilities": list(model.capabilities),
    }
    of_memory = loaded and {
        "size_bytes": loaded.size,
        "gpu_bytes": loaded.size_vram,
        "context_tokens": loaded.context_length,
    }
    return {
        "name": patient.name,
        "roles": [role.value for role in patient.roles],
        "file": of_file,
        "loaded": of_memory,
        "probes": [{"role": role.value, **_probe(probe)} for role, probe in patient.probes],
        "paces": [_pace(pace) for pace in patient.paces],
    }


def _probe(probe: Probe) -> Json:
    return {
        "kind": probe.kind.name.lower(),
        "outcome": probe.outcome.value,
        "detail": probe.detail,
        "prompt_tokens": probe.prompt_tokens,
        "prompt_seconds": probe.prompt_seconds,
        "tokens": probe.tokens,
        "tokens_seconds": probe.tokens_seconds,
    }


def _pace(pace: TimeoutEstimate) -> Json:
    return {
        "role": pace.role.value,
        "tokens_per_second": pace.tokens_per_second,
        "prompt_seconds": pace.prompt_seconds,
        "answer_tokens": pace.answer_tokens,
        "needed_seconds": pace.needed_seconds,
        "timeout_seconds": pace.timeout_seconds,
        "sufficient_seconds": pace.sufficient_seconds,
    }


def _memory(memory: Memory) -> Json:
    plan, names = memory.plan, [use.model.name for use in memory.uses]
    return {
        "place": memory.place.value,
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
