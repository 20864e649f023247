"""The settings, as the numbers of the admission rules."""

from supervisor.admission.policy import AdmissionPolicy, TakeTurns
from supervisor.settings.memory_size import MemorySize
from supervisor.settings.model import Settings
from worker.ollama.models import listed_name

MIN_GRACE_SECONDS = 10.0  # /api/ps waits this long for the ping of a runner that hangs


def admission_policy(settings: Settings, total_bytes: int) -> AdmissionPolicy:
    """`total_bytes` is this host's memory. A limit may be given as a share of it."""
    supervisor, worker = settings.supervisor, settings.worker
    limit_bytes = MemorySize.parse(supervisor.ollama_memory_limit).of(total_bytes)
    return AdmissionPolicy(
        vision_model=listed_name(worker.ai_vision_model) if worker.asks_ollama("vision") else None,
        feedback_model=listed_name(worker.ai_feedback_model) if worker.asks_ollama("feedback") else None,
        num_parallel=worker.ollama_num_parallel,
        limit_bytes=limit_bytes,
        low_water_bytes=min(MemorySize.parse(supervisor.ollama_memory_low_water).of(limit_bytes), limit_bytes),
        max_loaded_models=supervisor.ollama_max_loaded_models,
        take_turns=TakeTurns(supervisor.ai_take_turns),
        vision_context_tokens=worker.model_options("vision").get("num_ctx"),
        feedback_context_tokens=worker.model_options("feedback").get("num_ctx"),
        vision_timeout_seconds=worker.ai_timeout_vision,
        feedback_timeout_seconds=worker.ai_timeout_feedback,
        sample_seconds=supervisor.admission_sample_seconds,
        max_hold_seconds=supervisor.admission_max_hold_seconds,
        grace_seconds=max(MIN_GRACE_SECONDS, 5 * supervisor.admission_sample_seconds),
    )
