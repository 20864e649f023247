"""The findings about memory: the estimate against these settings, with remedies."""

from collections.abc import Iterator

from supervisor.doctor.memory_estimate import DEFAULT_PROMPT_CACHE_BYTES, CacheType, Fit, Plan
from supervisor.doctor.run import MemoryLocation, MemoryReport
from supervisor.findings import Finding, Level
from supervisor.settings.memory_size import MemorySize
from supervisor.settings.model import Settings
from supervisor.wording import byte_size, counted
from worker.ipc.contract import Step


def memory_findings(memory: MemoryReport, settings: Settings) -> Iterator[Finding]:
    """Every finding of the estimate, also that it fits."""
    if memory.gpu is not None:
        yield _gpu(memory.plan.need.models_bytes, memory.gpu.bytes)
    elif memory.budget is None:
        yield Finding(Level.OK, f"the models need {byte_size(memory.plan.need.together_bytes)}: {_NOT_COMPARED[memory.location]}")
    else:
        yield _fit(memory.plan, f"of {byte_size(memory.budget.bytes)} available")
        yield from _prompt_cache(memory, memory.budget.bytes)
    yield from _limit(memory, settings)
    yield from _loaded_models(memory, settings)
    yield from _workers(settings.supervisor.worker_concurrency, memory.plan.useful_workers)
    yield from _turns(memory, settings)


_NOT_COMPARED = {
    MemoryLocation.GPU: "on a GPU that does not report its memory (NVIDIA's need the extra `gpu`): compare with `ollama ps`",
    MemoryLocation.ELSEWHERE: "on another host, whose memory is not known here",
}


def _gpu(needed_bytes: int, available_bytes: int) -> Finding:
    subject = f"the models need {byte_size(needed_bytes)} of {byte_size(available_bytes)} available on the GPU"
    if needed_bytes <= available_bytes:
        return Finding(Level.OK, subject)
    remedy = "the rest runs at the CPU's speed, or one model evicts the other: take smaller models or a smaller AI_NUM_CTX"
    return Finding(Level.WARNING, f"{subject}: {available_bytes / needed_bytes:.0%} fits", remedy)


def _fit(plan: Plan, available: str) -> Finding:
    match plan.fit:
        case Fit.NOT:
            return _too_large(plan, available)
        case Fit.IN_TURN:
            subject = f"the two models need {byte_size(plan.need.together_bytes)} {available}: not both at once"
            remedy = "they take turns, and each turn costs a load. With smaller models both would stay loaded"
            return Finding(Level.WARNING, subject, remedy)
    largest = f"the largest that fits is {plan.largest_num_parallel}"
    workers = f"the largest useful WORKER_CONCURRENCY is {plan.useful_workers}"
    subject = f"{_calls(plan)} needs {byte_size(plan.need.together_bytes)} {available}; {largest}; {workers}"
    if plan.need.cache_type is CacheType.F16:
        return Finding(Level.OK, subject)
    remedy = f"only with OLLAMA_KV_CACHE_TYPE={plan.need.cache_type.word} on the service: set it there"
    return Finding(Level.WARNING, subject, remedy)


def _too_large(plan: Plan, available: str) -> Finding:
    remedy = "take smaller models, a smaller AI_NUM_CTX, or a machine with more memory"
    if plan.largest_num_parallel:
        remedy = f"set OLLAMA_NUM_PARALLEL={plan.largest_num_parallel} here and on the service, and its cache to q4_0"
    subject = f"{_calls(plan)} needs {byte_size(plan.need.in_turn_bytes)} {available}: it does not fit"
    return Finding(Level.FAILED, subject, remedy)


def _calls(plan: Plan) -> str:
    return f"OLLAMA_NUM_PARALLEL={plan.need.num_parallel}"


def _workers(workers: int, useful: int) -> Iterator[Finding]:
    if workers > useful:
        remedy = f"harmless, but with more than WORKER_CONCURRENCY={useful} the others wait"
        yield Finding(Level.WARNING, f"{counted(workers, 'worker')} for {counted(useful, 'concurrent call')}", remedy)


def _prompt_cache(memory: MemoryReport, budget_bytes: int) -> Iterator[Finding]:
    grown_bytes = memory.plan.need.together_bytes + DEFAULT_PROMPT_CACHE_BYTES * len(memory.uses)
    if memory.plan.fit is not Fit.NOT and grown_bytes > budget_bytes:
        subject = "Ollama keeps old prompts, which will not fit in the long run unless the service has LLAMA_ARG_CACHE_RAM=0"
        yield Finding(Level.WARNING, subject, "no request can read that variable: check that the service has this line")


def _limit(memory: MemoryReport, settings: Settings) -> Iterator[Finding]:
    """With models above the limit, jobs would be held back for ever."""
    limit_bytes = MemorySize.parse(settings.supervisor.ollama_memory_limit).of(memory.host.total_bytes)
    need = memory.plan.need
    models_bytes = (need.in_turn_bytes if memory.plan.fit is Fit.IN_TURN else need.together_bytes) - need.workers.bytes
    if 0 < limit_bytes < models_bytes:
        subject = f"OLLAMA_MEMORY_LIMIT is {byte_size(limit_bytes)}, and the models alone need {byte_size(models_bytes)}"
        yield Finding(Level.FAILED, subject, "jobs would be held back again and again: raise it, or take smaller models")


def _loaded_models(memory: MemoryReport, settings: Settings) -> Iterator[Finding]:
    """OLLAMA_MAX_LOADED_MODELS must be the same in the settings and on the service."""
    configured, fit = settings.supervisor.ollama_max_loaded_models, memory.plan.fit
    if fit is Fit.IN_TURN and configured != 1:
        remedy = "set OLLAMA_MAX_LOADED_MODELS=1 here and on the service: the models then take turns, not with every job"
        yield Finding(Level.WARNING, "Ollama may try to hold both models at once", remedy)
    if fit is Fit.TOGETHER and 0 < configured < len(memory.uses):
        remedy = f"set OLLAMA_MAX_LOADED_MODELS={len(memory.uses)} here and on the service: both fit"
        yield Finding(Level.WARNING, "the models take turns although there is room for both", remedy)


def _turns(memory: MemoryReport, settings: Settings) -> Iterator[Finding]:
    """Two models that compute at once on the same cores starve each other (docs/ollama-api.md 8.2)."""
    cores = memory.cores
    threads = [settings.worker.model_options(step.value).get("num_thread", cores) for step in Step]
    is_crowded = memory.location is MemoryLocation.HERE and len(memory.uses) > 1 and sum(threads) > cores
    if not is_crowded or memory.plan.fit is not Fit.TOGETHER or settings.supervisor.worker_concurrency == 1:
        return
    subject = f"both models compute on the CPU's {cores} cores and slow each other down when both are in use"
    match settings.supervisor.ai_take_turns:
        case "false":
            remedy = f"set AI_NUM_THREAD={max(1, cores // 2)}, or AI_TAKE_TURNS=auto"
            yield Finding(Level.WARNING, subject, remedy)
        case "auto" | "true" as turns:
            yield Finding(
                Level.OK, f"{subject}: AI_TAKE_TURNS={turns} prevents that, and so would AI_NUM_THREAD={max(1, cores // 2)}"
            )
