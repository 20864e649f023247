"""What the memory sum means for these settings, and what to do about it."""

from collections.abc import Iterator

from supervisor.doctor.memory import DEFAULT_PROMPT_CACHE_BYTES, CacheType, Fit, shown
from supervisor.doctor.model import Role
from supervisor.doctor.run import Memory, Place
from supervisor.findings import Finding, Level
from supervisor.settings.memory_size import MemorySize
from supervisor.settings.model import Settings


def memory_findings(memory: Memory, settings: Settings) -> Iterator[Finding]:
    if memory.gpu is not None:
        yield _cards(memory.plan.need.models_bytes, memory.gpu.bytes)
    elif memory.budget is None:
        yield Finding(Level.OK, f"the models need {shown(memory.plan.need.together_bytes)}: {_NOT_COMPARED[memory.place]}")
    else:
        yield _fit(memory, memory.budget.bytes)
        yield from _prompt_cache(memory, memory.budget.bytes)
    yield from _limit(memory, settings)
    yield from _loaded_models(memory, settings)
    workers, useful = settings.supervisor.worker_concurrency, memory.plan.useful_workers
    if workers > useful:
        remedy = f"harmless, but more than WORKER_CONCURRENCY={useful} wait for each other"
        yield Finding(Level.WARNING, f"{workers} workers for {useful} calls at once", remedy)
    yield from _turns(memory, settings)


_NOT_COMPARED = {
    Place.GPU: "on a GPU that does not tell its memory (NVIDIA's do with the extra `gpu`); `ollama ps` says what is on it",
    Place.ELSEWHERE: "on another host, whose memory is not known here",
}


def _cards(needed_bytes: int, there_bytes: int) -> Finding:
    subject = f"the models need {shown(needed_bytes)} of {shown(there_bytes)} that there are for them on the GPU"
    if needed_bytes <= there_bytes:
        return Finding(Level.OK, subject)
    remedy = (
        "the rest is computed at the CPU's speed, or one makes room for the other: take smaller models or a smaller AI_NUM_CTX"
    )
    return Finding(Level.WARNING, f"{subject}: {there_bytes / needed_bytes:.0%} fits", remedy)


def _fit(memory: Memory, budget_bytes: int) -> Finding:
    plan, there = memory.plan, f"of {shown(budget_bytes)} that there are for them"
    calls = f"OLLAMA_NUM_PARALLEL={plan.need.num_parallel}"
    largest = f"the largest that fits is {plan.largest_num_parallel}"
    if plan.fit is Fit.NOT:
        if plan.largest_num_parallel:
            remedy = f"set OLLAMA_NUM_PARALLEL={plan.largest_num_parallel} here and on the service, and its cache to q4_0"
        else:
            remedy = "take smaller models, a smaller AI_NUM_CTX, or a machine with more memory"
        return Finding(Level.FAILED, f"{calls} needs {shown(plan.need.in_turn_bytes)} {there}: it does not fit", remedy)
    if plan.fit is Fit.IN_TURN:
        remedy = "they change in phases, which costs a load at each change; with smaller models both would stay loaded"
        return Finding(Level.WARNING, f"the two models need {shown(plan.need.together_bytes)} {there}: not both at once", remedy)
    workers = f"the largest WORKER_CONCURRENCY of use now is {plan.useful_workers}"
    subject = f"{calls} needs {shown(plan.need.together_bytes)} {there}; {largest}; {workers}"
    if plan.need.cache_type is not CacheType.F16:
        word = plan.need.cache_type.word
        return Finding(Level.WARNING, subject, f"only with OLLAMA_KV_CACHE_TYPE={word} on the service: set it there")
    return Finding(Level.OK, subject)


def _prompt_cache(memory: Memory, budget_bytes: int) -> Iterator[Finding]:
    grown_bytes = memory.plan.need.together_bytes + DEFAULT_PROMPT_CACHE_BYTES * len(memory.uses)
    if memory.plan.fit is not Fit.NOT and grown_bytes > budget_bytes:
        subject = "Ollama keeps old prompts, which does not fit in the long run unless the service has LLAMA_ARG_CACHE_RAM=0"
        yield Finding(Level.WARNING, subject, "no request tells whether it has: see that this line is among those of the service")


def _limit(memory: Memory, settings: Settings) -> Iterator[Finding]:
    """Models that are above the limit by themselves would be held back for ever."""
    limit_bytes = MemorySize.parse(settings.supervisor.ollama_memory_limit).of(memory.host.total_bytes)
    need = memory.plan.need
    models_bytes = (need.in_turn_bytes if memory.plan.fit is Fit.IN_TURN else need.together_bytes) - need.workers.bytes
    if 0 < limit_bytes < models_bytes:
        subject = f"OLLAMA_MEMORY_LIMIT is {shown(limit_bytes)}, and the models alone need {shown(models_bytes)}"
        yield Finding(Level.FAILED, subject, "no job would ever be leased for long: raise it, or take smaller models")


def _loaded_models(memory: Memory, settings: Settings) -> Iterator[Finding]:
    """What this service is told must be what the other one does (OLLAMA_MAX_LOADED_MODELS of both)."""
    told, fit = settings.supervisor.ollama_max_loaded_models, memory.plan.fit
    if fit is Fit.IN_TURN and told != 1:
        remedy = "set OLLAMA_MAX_LOADED_MODELS=1 here and on the service: then they change in phases, not with every job"
        yield Finding(Level.WARNING, "Ollama may try to hold both models at once", remedy)
    if fit is Fit.TOGETHER and 0 < told < len(memory.uses):
        remedy = f"set OLLAMA_MAX_LOADED_MODELS={len(memory.uses)} here and on the service: both fit"
        yield Finding(Level.WARNING, "the models take turns although there is room for both", remedy)


def _turns(memory: Memory, settings: Settings) -> Iterator[Finding]:
    """Two runners that compute at once on the same cores starve each other (ollama.md 8.2)."""
    cores = memory.cores
    threads = [settings.worker.model_options(role.value).get("num_thread", cores) for role in Role]
    is_crowded = memory.place is Place.HERE and len(memory.uses) > 1 and sum(threads) > cores
    if not is_crowded or memory.plan.fit is not Fit.TOGETHER or settings.supervisor.worker_concurrency == 1:
        return
    subject = f"both models compute on the CPU's {cores} cores, and starve each other when both are asked"
    match settings.supervisor.ai_take_turns:
        case "false":
            remedy = f"set AI_NUM_THREAD={max(1, cores // 2)}, or AI_TAKE_TURNS=auto"
            yield Finding(Level.WARNING, subject, remedy)
        case "auto" | "true" as turns:
            yield Finding(Level.OK, f"{subject}: AI_TAKE_TURNS={turns} sees to it, or set AI_NUM_THREAD={max(1, cores // 2)}")
