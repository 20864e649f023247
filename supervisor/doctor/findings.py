"""What is wrong and what to do about it, in words for whoever runs the school's server."""

from collections.abc import Iterator

from supervisor.doctor.memory_findings import memory_findings
from supervisor.doctor.model import COMPLETION, VISION, InstalledModel, Role
from supervisor.doctor.probe import Outcome, Probe, ProbeKind
from supervisor.doctor.quantisation import QuantisationClass, smaller_tag
from supervisor.doctor.run import DoctorReport, ModelCheck
from supervisor.doctor.timeouts import LONGEST_SECONDS, Margin, TimeoutEstimate
from supervisor.findings import Finding, Level


def findings(examination: DoctorReport) -> list[Finding]:
    """FAILED: with these settings jobs would fail. WARNING: they would work, slowly, or not always."""
    if examination.version is None:
        return [Finding(Level.FAILED, f"Ollama at {examination.base_url} does not answer ({examination.silence})", _START_IT)]
    lines = [Finding(Level.OK, f"Ollama {examination.version} answers at {examination.base_url}"), *_backend(examination)]
    for patient in examination.patients:
        lines += _patient(patient, examination)
    if examination.memory:
        lines += memory_findings(examination.memory, examination.settings)
    return lines


BUSY, REFUSED_AS_IT_IS = "status 503", "status 400"
_START_IT = "see that the Ollama service runs (`systemctl status ollama`), or correct OLLAMA_BASE_URL"


def _backend(examination: DoctorReport) -> Iterator[Finding]:
    if examination.settings.worker.invents_something:
        yield Finding(Level.WARNING, "results are still invented", "no model is asked before AI_BACKEND=local")
    if not examination.patients:
        yield Finding(Level.WARNING, "both adapters are your own", "which models they ask is not known here")


def _patient(patient: ModelCheck, examination: DoctorReport) -> Iterator[Finding]:
    model, variables = patient.model, " and ".join(role.variable for role in patient.roles)
    if model is None:
        yield Finding(
            Level.FAILED, f"{patient.name} is not on the server", f"run `ollama pull {patient.name}`, or correct {variables}"
        )
        return
    yield _quantisation(patient, model, examination)
    yield from _capabilities(patient, model, variables)
    if model.is_serial and examination.settings.worker.ollama_num_parallel > 1:
        remedy = "set OLLAMA_NUM_PARALLEL=1, or take another family: more calls only wait"
        yield Finding(Level.WARNING, f"Ollama takes one call at a time of the family {model.family}", remedy)
    failed = next((probe for _, probe in patient.probes if probe.outcome is not Outcome.GOOD), None)
    if failed:
        yield _failure(patient, failed)
        return
    yield from _placement(patient, examination)
    for pace in patient.paces:
        yield _pace(patient, pace)
        yield from _window(patient, pace)
    for role in patient.roles:
        if role not in {pace.role for pace in patient.paces}:
            yield Finding(
                Level.WARNING, f"{patient.name} said too little to measure its speed", "watch its first jobs in `status`"
            )


def _quantisation(patient: ModelCheck, model: InstalledModel, examination: DoctorReport) -> Finding:
    subject = f"{patient.name}: family {model.family}, {model.parameter_size} parameters, {model.quantisation}"
    settings, smaller = examination.settings, smaller_tag(patient.name)
    match model.kind:
        case QuantisationClass.UNQUANTISED:
            is_shared = settings.supervisor.worker_concurrency > 1 or settings.worker.ollama_num_parallel > 1
            level = Level.FAILED if is_shared else Level.WARNING
            return Finding(level, f"{subject}: not quantised, {model.weight_bits} bits a weight", _take(smaller, "a quarter"))
        case QuantisationClass.LARGE:
            return Finding(Level.WARNING, f"{subject}: {model.weight_bits} bits a weight", _take(smaller, "about half"))
        case QuantisationClass.UNKNOWN:
            return Finding(Level.WARNING, f"{subject}: how many bits its weights have is not known", "prefer a q4_K_M")
    return Finding(Level.OK, subject)


def _take(smaller: str, share: str) -> str:
    return f"take {smaller} if your library has it (`ollama pull {smaller}`): {share} of the memory, faster, hardly worse"


def _capabilities(patient: ModelCheck, model: InstalledModel, variables: str) -> Iterator[Finding]:
    if Role.VISION in patient.roles and VISION not in model.capabilities:
        yield Finding(
            Level.FAILED, f"{patient.name} cannot see pictures", "name a vision model in AI_VISION_MODEL, such as qwen2.5vl:3b"
        )
    if COMPLETION not in model.capabilities:
        yield Finding(Level.FAILED, f"{patient.name} writes no text", f"name a model for chats in {variables}")


def _failure(patient: ModelCheck, probe: Probe) -> Finding:
    subject = f"{patient.name}: {_FAILED_AT[probe.kind]}"
    match probe.outcome:
        case Outcome.REFUSED if probe.detail == BUSY:
            remedy = "too many requests wait for it to load a model: try again outside of class"
            return Finding(Level.FAILED, f"{subject}: Ollama has no room", remedy)
        case Outcome.REFUSED if probe.detail == REFUSED_AS_IT_IS and probe.kind is ProbeKind.PICTURE:
            remedy = "mostly a page does not fit into its window: set AI_NUM_CTX_VISION=8192"
            return Finding(Level.FAILED, f"{subject}: Ollama refused it", remedy)
        case Outcome.REFUSED:
            remedy = "see the end of Ollama's log (`journalctl -u ollama`): mostly memory ran out, or the model's file is damaged"
            return Finding(Level.FAILED, f"{subject}: Ollama answered with {probe.detail}", remedy)
        case Outcome.SILENT:
            remedy = "it hangs, died, or is far too slow here: restart the Ollama service and try again, or take a smaller model"
            return Finding(Level.FAILED, f"{subject}: no answer ({probe.detail})", remedy)
    remedy = "update Ollama; if that does not help take another model: each answer of this one would be refused"
    return Finding(Level.FAILED, f"{subject}: not an answer as it was asked for", remedy)


_FAILED_AT = {
    ProbeKind.LOAD: "loading it failed",
    ProbeKind.WORD: "a greeting failed",
    ProbeKind.PICTURE: "the picture of a page failed",
    ProbeKind.SCHEMA: "an answer by a JSON schema failed",
    ProbeKind.FEEDBACK: "an invented submission failed",
}


def _placement(patient: ModelCheck, examination: DoctorReport) -> Iterator[Finding]:
    loaded = patient.loaded
    if loaded is None:
        remedy = "if OLLAMA_KEEP_ALIVE is 0 on the service each job loads the model anew: set it to 30m there"
        yield Finding(Level.WARNING, f"{patient.name} was gone from `ollama ps` right after its answer", remedy)
        return
    if 0 < loaded.size_vram < loaded.size:
        share = f"{loaded.size_vram / loaded.size:.0%}"
        remedy = "it computes at the CPU's speed: take a smaller model or a smaller AI_NUM_CTX until `ollama ps` says 100% GPU"
        yield Finding(Level.WARNING, f"only {share} of {patient.name} is on the GPU", remedy)
    asked = examination.settings.worker.model_options(patient.roles[0].value).get("num_ctx", 0)
    if loaded.context_length and loaded.context_length < asked:
        remedy = "its file allows no more, or memory was short: set AI_NUM_CTX to what it has"
        yield Finding(Level.WARNING, f"{patient.name} has a window of {loaded.context_length} tokens, not {asked}", remedy)


def _pace(patient: ModelCheck, pace: TimeoutEstimate) -> Finding:
    variable = f"AI_TIMEOUT_{pace.role.name}"
    needs = f"{_ANSWER[pace.role]} takes about {pace.needed_seconds:.0f} s at {pace.tokens_per_second:.1f} tokens/s"
    subject = f"{patient.name}: {needs}; {variable} is {pace.timeout_seconds} s"
    if pace.kept is Margin.YES:
        return Finding(Level.OK, subject)
    level = Level.FAILED if pace.kept is Margin.NO else Level.WARNING
    if pace.sufficient_seconds is None:
        remedy = f"no timeout would do, as {LONGEST_SECONDS} is the longest: take a smaller model, or a machine with a GPU"
    elif pace.sufficient_seconds <= pace.timeout_seconds:
        remedy = "there is no room for a longer text: take a smaller model"
    else:
        remedy = f"set {variable}={pace.sufficient_seconds}, or take a smaller model"
    return Finding(level, subject, remedy)


def _window(patient: ModelCheck, pace: TimeoutEstimate) -> Iterator[Finding]:
    """An answer that does not fit is cut, and the job fails after all its tries."""
    there = patient.loaded.context_length if patient.loaded else 0
    if 0 < there < pace.window_tokens:
        subject = f"{patient.name}: {_ANSWER[pace.role]} takes a window of {pace.window_tokens} tokens, and it has {there}"
        wider = 2 ** (pace.window_tokens * 3 // 2).bit_length()
        yield Finding(Level.FAILED, subject, f"set AI_NUM_CTX_{pace.role.name}={wider}")


_ANSWER = {Role.VISION: "a full page", Role.FEEDBACK: "the feedback on five criteria"}
