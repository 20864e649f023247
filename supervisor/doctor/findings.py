"""The findings about server and models: everything that is wrong, each with its remedy."""

from collections.abc import Iterator

from supervisor.doctor.memory_findings import memory_findings
from supervisor.doctor.model import COMPLETION, VISION, InstalledModel, model_variable
from supervisor.doctor.probe import Outcome, Probe, ProbeKind
from supervisor.doctor.quantisation import QuantisationClass, smaller_tag
from supervisor.doctor.run import DoctorReport, ModelCheck
from supervisor.doctor.timeouts import LONGEST_SECONDS, TimeoutEstimate
from supervisor.findings import Finding, Level
from worker.ipc.contract import Step

STATUS_503, STATUS_400 = "status 503", "status 400"
_START_IT = "check that the Ollama service runs (`systemctl status ollama`), or correct OLLAMA_BASE_URL"
_ANSWER = {Step.VISION: "a full page", Step.FEEDBACK: "the feedback on five criteria"}
_LONGEST_WORK = {Step.VISION: "a full page", Step.FEEDBACK: "an essay of 4000 words"}
_MISREAD = {
    Outcome.READ_NOTHING: "reads nothing on a page of printed words",
    Outcome.READ_OTHER: "does not return the words of a printed page: it describes pages, or cannot read",
    Outcome.ADDED: "adds a text of its own to the words of a printed page",
}
_FAILED_PROBE = {
    ProbeKind.LOAD: "loading it failed",
    ProbeKind.WORD: "a greeting failed",
    ProbeKind.PICTURE: "the picture of a page failed",
    ProbeKind.SCHEMA: "an answer by a JSON schema failed",
    ProbeKind.FEEDBACK: "an invented submission failed",
}


def findings(report: DoctorReport) -> list[Finding]:
    """FAILED: jobs would fail with these settings. WARNING: jobs would succeed, but slowly or not always."""
    if report.version is None:
        return [_no_answer(report)]
    found = [Finding(Level.OK, f"Ollama {report.version} answers at {report.base_url}"), *_adapters(report)]
    for check in report.models:
        found += _model(check, report)
    if report.memory:
        found += memory_findings(report.memory, report.settings)
    return found


def _no_answer(report: DoctorReport) -> Finding:
    """A fault, but for two adapters of another package, which may do without Ollama."""
    subject = f"Ollama at {report.base_url} does not answer ({report.error})"
    worker = report.settings.worker
    if worker.is_foreign("vision") and worker.is_foreign("feedback"):
        remedy = f"both adapters are of another package: if they use Ollama, {_START_IT}. `doctor` tests no other model server"
        return Finding(Level.WARNING, subject, remedy)
    return Finding(Level.FAILED, subject, _START_IT)


def _adapters(report: DoctorReport) -> Iterator[Finding]:
    if report.settings.worker.invents_something:
        remedy = "no model reads the pupils' pages: set AI_BACKEND=local"
        yield Finding(Level.WARNING, "results are still invented", remedy)
    if not report.models:
        remedy = "`doctor` does not know their models and cannot test them"
        yield Finding(Level.WARNING, "both adapters are of another package", remedy)


def _model(check: ModelCheck, report: DoctorReport) -> Iterator[Finding]:
    variables = " and ".join(map(model_variable, check.steps))
    if check.model is None:
        remedy = f"run `ollama pull {check.name}`, or correct {variables}"
        yield Finding(Level.FAILED, f"{check.name} is not on the server", remedy)
        return
    yield _quantisation(check.name, check.model, report)
    yield from _place(check.name, check.model, report)
    yield from _capabilities(check, check.model, variables)
    if check.model.is_serial and report.settings.worker.ollama_num_parallel > 1:
        remedy = "set OLLAMA_NUM_PARALLEL=1, or take another family: further calls only wait"
        yield Finding(Level.WARNING, f"Ollama runs one call at a time with the family {check.model.family}", remedy)
    failed = next((probe for _, probe in check.probes if probe.outcome is not Outcome.GOOD), None)
    if failed:
        yield _failure(check.name, failed)
        return
    yield from _placement(check, report)
    yield from _timeouts(check)


def _quantisation(name: str, model: InstalledModel, report: DoctorReport) -> Finding:
    subject = f"{name}: family {model.family}, {model.parameter_size} parameters, {model.quantisation}"
    settings, smaller = report.settings, smaller_tag(name)
    match model.kind:
        case QuantisationClass.UNQUANTISED:
            is_shared = settings.supervisor.worker_concurrency > 1 or settings.worker.ollama_num_parallel > 1
            level = Level.FAILED if is_shared else Level.WARNING
            remedy = _smaller(smaller, "a quarter")
            return Finding(level, f"{subject}: not quantised, {model.weight_bits} bits a weight", remedy)
        case QuantisationClass.LARGE:
            return Finding(Level.WARNING, f"{subject}: {model.weight_bits} bits a weight", _smaller(smaller, "about half"))
        case QuantisationClass.UNKNOWN:
            return Finding(Level.WARNING, f"{subject}: the bits per weight are not known", "prefer a model with q4_K_M")
    return Finding(Level.OK, subject)


def _smaller(tag: str, share: str) -> str:
    return f"run `ollama pull {tag}` if the library has it: {share} of the memory, faster, hardly worse"


def _place(name: str, model: InstalledModel, report: DoctorReport) -> Iterator[Finding]:
    if not model.remote_host:
        return
    subject = f"{name} runs outside of the house ({model.remote_host})"
    if report.settings.worker.ai_send_pupils_work_to_cloud:
        yield Finding(Level.WARNING, subject, "pupils' work is sent there, as AI_SEND_PUPILS_WORK_TO_CLOUD=true allows")
    else:
        yield Finding(Level.FAILED, subject, "pupils' work would leave the house: take a local model")


def _capabilities(check: ModelCheck, model: InstalledModel, variables: str) -> Iterator[Finding]:
    if Step.VISION in check.steps and VISION not in model.capabilities:
        remedy = "set AI_VISION_MODEL to a vision model, such as qwen2.5vl:3b"
        yield Finding(Level.FAILED, f"{check.name} cannot see pictures", remedy)
    if COMPLETION not in model.capabilities:
        yield Finding(Level.FAILED, f"{check.name} writes no text", f"set {variables} to a chat model")


def _failure(name: str, probe: Probe) -> Finding:
    subject = f"{name}: {_FAILED_PROBE[probe.kind]}"
    match probe.outcome:
        case Outcome.ERROR_STATUS if probe.detail == STATUS_503:
            remedy = "too many requests wait for a model to load: try again outside of class"
            return Finding(Level.FAILED, f"{subject}: Ollama has no room", remedy)
        case Outcome.ERROR_STATUS if probe.detail == STATUS_400 and probe.kind is ProbeKind.PICTURE:
            remedy = (
                "most likely a page does not fit into AI_NUM_CTX_VISION or AI_NUM_CTX: remove the setting, or take another model"
            )
            return Finding(Level.FAILED, f"{subject}: Ollama refused it", remedy)
        case Outcome.ERROR_STATUS:
            remedy = (
                "read the end of Ollama's log (`journalctl -u ollama`): usually memory ran out or the model's file is damaged"
            )
            return Finding(Level.FAILED, f"{subject}: Ollama answered with {probe.detail}", remedy)
        case Outcome.SILENT:
            remedy = "it hangs, crashed or is far too slow here: restart Ollama and try again, or take a smaller model"
            return Finding(Level.FAILED, f"{subject}: no answer ({probe.detail})", remedy)
        case Outcome.OTHER_PROMPT:
            remedy = f"set AI_VISION_PROMPT={probe.detail}"
            return Finding(Level.FAILED, f"{name} reads a page only with another prompt", remedy)
        case Outcome.READ_NOTHING | Outcome.READ_OTHER | Outcome.ADDED:
            remedy = "pupils' pages would be lost or invented: take another vision model, such as qwen2.5vl:3b"
            return Finding(Level.FAILED, f"{name} {_MISREAD[probe.outcome]}", remedy)
    remedy = "update Ollama. If that does not help take another model: each answer of this one would not be usable"
    return Finding(Level.FAILED, f"{subject}: not an answer as it was asked for", remedy)


def _placement(check: ModelCheck, report: DoctorReport) -> Iterator[Finding]:
    loaded = check.loaded
    if loaded is None:
        remedy = "if the service has OLLAMA_KEEP_ALIVE=0 each job loads the model again: set it to 30m there"
        yield Finding(Level.WARNING, f"{check.name} was gone from `ollama ps` right after its answer", remedy)
        return
    if 0 < loaded.size_vram < loaded.size:
        remedy = "the rest runs at the CPU's speed: take a smaller model or AI_NUM_CTX until `ollama ps` shows 100% GPU"
        yield Finding(Level.WARNING, f"only {loaded.size_vram / loaded.size:.0%} of {check.name} is on the GPU", remedy)
    yield from _asked_window(check, loaded.context_length, report)


def _asked_window(check: ModelCheck, loaded_tokens: int, report: DoctorReport) -> Iterator[Finding]:
    """Compare the window that is asked for with the model's largest one and with the loaded one."""
    wanted, largest = report.settings.worker.model_options(check.steps[0].value)["num_ctx"], check.largest_window
    if largest < wanted:
        work = " and ".join(_LONGEST_WORK[step] for step in check.steps)
        subject = f"{check.name} has a context window of at most {largest} tokens, and {work} needs up to {wanted}"
        remedy = "longer work fails as input_too_large: take a model with a larger window"
        yield Finding(Level.WARNING, subject, remedy)
    if 0 < loaded_tokens < min(wanted, largest):
        subject = f"{check.name} has a context window of {loaded_tokens} tokens, not {wanted}"
        remedy = f"memory was short, or another client loads it with fewer: find the client, or set AI_NUM_CTX={loaded_tokens}"
        yield Finding(Level.WARNING, subject, remedy)


def _timeouts(check: ModelCheck) -> Iterator[Finding]:
    for estimate in check.timeouts:
        yield _timeout(check.name, estimate)
        yield from _window(check, estimate)
    if len(check.timeouts) < len(check.steps):
        yield Finding(Level.WARNING, f"{check.name} wrote too little to measure its speed", "watch its first jobs in `status`")


def _timeout(name: str, estimate: TimeoutEstimate) -> Finding:
    variable = f"AI_TIMEOUT_{estimate.step.name}"
    needed = f"takes about {estimate.needed_seconds:.0f} s at {estimate.tokens_per_second:.1f} tokens/s"
    subject = f"{name}: {_ANSWER[estimate.step]} {needed}; {variable} is {estimate.timeout_seconds} s"
    if estimate.level is Level.OK:
        return Finding(Level.OK, subject)
    if estimate.sufficient_seconds is None:
        remedy = f"no timeout would do, because {LONGEST_SECONDS} s is the longest: take a smaller model or a machine with a GPU"
    elif estimate.sufficient_seconds <= estimate.timeout_seconds:
        remedy = "there is no reserve for a longer text: take a smaller model"
    else:
        remedy = f"set {variable}={estimate.sufficient_seconds}, or take a smaller model"
    return Finding(estimate.level, subject, remedy)


def _window(check: ModelCheck, estimate: TimeoutEstimate) -> Iterator[Finding]:
    """An answer that does not fit is truncated, and the job fails after its last attempt."""
    window_tokens = check.loaded.context_length if check.loaded else 0
    if 0 < window_tokens < estimate.window_tokens:
        needed = f"{_ANSWER[estimate.step]} needs a context window of {estimate.window_tokens} tokens"
        wider = 2 ** (estimate.window_tokens * 3 // 2).bit_length()
        remedy = f"set AI_NUM_CTX_{estimate.step.name}={wider}"
        yield Finding(Level.FAILED, f"{check.name}: {needed}, and it has {window_tokens}", remedy)
