"""The rules of `doctor`: quantisation, the memory estimate, the timeouts, and the findings."""

import io
from dataclasses import replace

import pytest
from PIL import Image, ImageChops
from rich.console import Console

from supervisor.admission.facts import HostMeasured
from supervisor.doctor import environment, findings, known_page, memory_estimate, quantisation, view
from supervisor.doctor.known_page import Reading
from supervisor.doctor.memory_estimate import OVERHEAD_BYTES, WORKER_BYTES, Budget, CacheType, Fit, Need, Plan, Use
from supervisor.doctor.memory_findings import memory_findings
from supervisor.doctor.model import InstalledModel, installed_model
from supervisor.doctor.probe import Outcome, Probe, ProbeKind
from supervisor.doctor.quantisation import smaller_tag
from supervisor.doctor.run import DoctorReport, MemoryLocation, MemoryReport, ModelCheck
from supervisor.doctor.timeouts import TimeoutEstimate, estimate
from supervisor.findings import Finding, Level
from supervisor.settings.model import Settings, parse
from supervisor.wording import byte_size, wrapped
from tests.terminal import WIDTH, assert_fits
from worker.ipc.contract import Step
from worker.ollama.api import Description
from worker.ollama.models import ListedModel

GB = 1_000_000_000
CONTEXT_TOKENS = 8192
STEPS = {"reader": Step.VISION, "writer": Step.FEEDBACK}


def settings(**changes: object) -> Settings:
    given = {
        "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning",
        "AI_BACKEND": "local",
        "AI_VISION_MODEL": "reader",
        "AI_FEEDBACK_MODEL": "writer",
    }
    return parse(given | {name: str(value) for name, value in changes.items()})


def made(name: str = "writer", weight_bytes: int = 4 * GB, values: int | None = 16_384, **changes: object) -> InstalledModel:
    """`values` are the numbers in the cache per token: 32 768 bytes as f16."""
    capabilities = ("completion", "vision")
    plain = InstalledModel(name, (STEPS[name],), "qwen3", "7B", "Q4_K_M", 4, weight_bytes, 0, values, 32_768, capabilities)
    return replace(plain, **changes)  # type: ignore[arg-type]


def uses(*models: InstalledModel) -> tuple[Use, ...]:
    return tuple(Use(each, CONTEXT_TOKENS) for each in models)


# quantisation


@pytest.mark.parametrize(
    ("level", "bits", "kind"),
    [
        ("F16", 16, quantisation.QuantisationClass.UNQUANTISED),
        ("BF16", 16, quantisation.QuantisationClass.UNQUANTISED),
        ("F32", 16, quantisation.QuantisationClass.UNQUANTISED),
        ("Q8_0", 8, quantisation.QuantisationClass.LARGE),
        ("Q6_K", 6, quantisation.QuantisationClass.LARGE),
        ("Q5_K_M", 5, quantisation.QuantisationClass.GOOD),
        ("Q4_K_M", 4, quantisation.QuantisationClass.GOOD),
        ("q4_0", 4, quantisation.QuantisationClass.GOOD),
        ("IQ3_XXS", 3, quantisation.QuantisationClass.GOOD),
        ("MXFP4", 4, quantisation.QuantisationClass.GOOD),
        ("unknown", 8, quantisation.QuantisationClass.LARGE),
    ],
)
def test_bits_of_a_weight(level: str, bits: int, kind: quantisation.QuantisationClass) -> None:
    """Ollama's names of quantisations, the newest included. Without a name the file's size counts."""
    assert quantisation.bits(level, size_bytes=7 * GB, parameters=7 * GB) == bits
    assert quantisation.kind(bits) is kind


def test_unknown_bits() -> None:
    assert quantisation.bits("unknown", 7 * GB, parameters=0) is None
    assert quantisation.kind(None) is quantisation.QuantisationClass.UNKNOWN


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("gemma3:4b-it-fp16", "gemma3:4b-it-q4_K_M"),
        ("qwen2.5vl:7b-q8_0", "qwen2.5vl:7b-q4_K_M"),
        ("llama3.1:8b-write_control_record-q6_K", "llama3.1:8b-write_control_record-q4_K_M"),
        ("qwen2.5vl:7b", "qwen2.5vl:7b-q4_K_M"),
        ("school:latest", "school:q4_K_M"),
        ("school", "school:q4_K_M"),
        ("school:f16", "school:q4_K_M"),
    ],
)
def test_the_smaller_tag(name: str, smaller: str) -> None:
    """As in Ollama's library: size and kind stay, the quantisation changes."""
    assert smaller_tag(name) == smaller


# a model's file


def described(**info: int | str) -> InstalledModel:
    description = Description.model_validate({"model_info": {"general.architecture": "x", "general.parameter_count": 10, **info}})
    return installed_model((Step.FEEDBACK,), ListedModel(name="m", size=100), description)


def test_the_cache_of_one_token() -> None:
    """Layers × heads of keys × width of a key and a value. The default width is the head's share of the embedding."""
    shape: dict[str, int | str] = {"x.block_count": 36, "x.attention.head_count": 16, "x.embedding_length": 2048}
    assert described(**shape, **{"x.attention.head_count_kv": 2}).cached_values_per_token == 36 * 2 * (128 + 128)
    widths = {"x.attention.key_length": 64, "x.attention.value_length": 32}
    assert described(**shape, **{"x.attention.head_count_kv": 8}, **widths).cached_values_per_token == 36 * 8 * 96
    assert described(**shape).cached_values_per_token == 36 * 16 * 256  # differing heads: overestimated
    assert described().cached_values_per_token is None


def test_the_projector_is_counted_separately() -> None:
    """Its weights have the type of its own file. The rest of the files' size is the model's."""
    projector = {"general.parameter_count": 20, "general.file_type": 1}
    found = installed_model(
        (Step.VISION,), ListedModel(name="m", size=100), Description.model_validate({"projector_info": projector})
    )
    assert (found.weight_bytes, found.projector_bytes) == (60, 40)


# the memory estimate


def test_each_term_is_explained() -> None:
    """Each term is the product in its explanation, and the sum is that of the terms."""
    needed = memory_estimate.need(uses(made(weight_bytes=4 * GB, projector_bytes=GB)), 3, 4, CacheType.F16)
    [terms] = needed.models
    assert [(term.what, term.bytes) for term in terms] == [
        ("weights", 4 * GB),
        ("projector", GB),
        ("context", 3 * 8192 * 16_384 * 2),
        ("prompt cache", 0),
        ("overhead", OVERHEAD_BYTES),
    ]
    assert "up to 8.6 GB without" in terms[3].how
    assert terms[2].how == "3 calls × 8192 tokens × 32.8 kB as f16"
    assert needed.together_bytes == sum(term.bytes for term in terms) + 4 * WORKER_BYTES


@pytest.mark.parametrize(("cache_type", "bits"), [(CacheType.F16, 16), (CacheType.Q8_0, 8.5), (CacheType.Q4_0, 4.5)])
def test_bits_of_the_cache(cache_type: CacheType, bits: float) -> None:
    """The engine's blocks of 32 numbers carry a scale of 16 bits."""
    [terms] = memory_estimate.need(uses(made()), 1, 1, cache_type).models
    assert terms[1].bytes == CONTEXT_TOKENS * 16_384 * bits / 8


def test_a_family_of_one_call_has_one_context() -> None:
    """Ollama gives these a single slot, whatever is set (docs/ollama-api.md 4.2)."""
    [terms] = memory_estimate.need(uses(made(family="qwen3vl")), 8, 1, CacheType.F16).models
    assert terms[1].how.startswith("1 call ×")


def bound(models: tuple[Use, ...], calls: int, cache_type: CacheType, *, together: bool = True) -> int:
    needed = memory_estimate.need(models, calls, 1, cache_type)
    return needed.together_bytes if together else needed.in_turn_bytes


PAIR = uses(made("reader", values=65_536), made("writer", values=65_536))


@pytest.mark.parametrize(
    ("budget_bytes", "fit", "cache_type"),
    [
        (bound(PAIR, 2, CacheType.F16), Fit.TOGETHER, CacheType.F16),
        (bound(PAIR, 2, CacheType.F16) - 1, Fit.TOGETHER, CacheType.Q8_0),
        (bound(PAIR, 2, CacheType.Q8_0) - 1, Fit.TOGETHER, CacheType.Q4_0),
        (bound(PAIR, 2, CacheType.Q4_0) - 1, Fit.IN_TURN, CacheType.F16),
        (bound(PAIR, 2, CacheType.F16, together=False) - 1, Fit.IN_TURN, CacheType.Q8_0),
        (bound(PAIR, 2, CacheType.Q4_0, together=False) - 1, Fit.NOT, CacheType.F16),
    ],
)
def test_two_calls_fit_at_the_exact_byte(budget_bytes: int, fit: Fit, cache_type: CacheType) -> None:
    """For two concurrent calls: both models with the exact cache, then with smaller caches, then in turn. Exact to the byte."""
    plan = memory_estimate.plan(PAIR, 2, 1, budget_bytes)
    assert (plan.fit, plan.need.cache_type) == (fit, cache_type)


@pytest.mark.parametrize("together", [True, False])
def test_the_most_calls_that_fit(together: bool) -> None:
    """To the byte, also if the configured number does not fit. 0 if not even one call does."""
    cache_type = CacheType.F16 if together else CacheType.Q4_0
    budget_bytes, asked = bound(PAIR, 5, cache_type, together=together), 1 if together else 64
    assert memory_estimate.plan(PAIR, asked, 1, budget_bytes).largest_num_parallel == 5
    assert memory_estimate.plan(PAIR, asked, 1, budget_bytes - 1).largest_num_parallel == 4
    assert memory_estimate.plan(PAIR, asked, 1, bound(PAIR, 1, CacheType.Q4_0, together=False) - 1).largest_num_parallel == 0


@pytest.mark.parametrize(("room", "workers"), [(0, 1), (2 * WORKER_BYTES - 1, 2), (2 * WORKER_BYTES, 3), (5 * WORKER_BYTES, 4)])
def test_the_most_workers_that_fit(room: int, workers: int) -> None:
    """Beside the models, to the byte, and at most one per concurrent call: two of each model."""
    plan = memory_estimate.plan(PAIR, 2, 1, bound(PAIR, 2, CacheType.F16) + room)
    assert (plan.fit, plan.useful_workers) == (Fit.TOGETHER, workers)


def test_unknown_memory_is_not_compared() -> None:
    plan = memory_estimate.plan(PAIR, 2, 1, None)
    assert (plan.fit, plan.largest_num_parallel, plan.useful_workers) == (Fit.UNKNOWN, None, 4)


@pytest.mark.parametrize(("size_bytes", "words"), [(0, "0 bytes"), (32_768, "32.8 kB"), (4.7 * GB, "4.7 GB"), (5e6, "5.0 MB")])
def test_a_size_is_printed_with_its_unit(size_bytes: float, words: str) -> None:
    assert byte_size(size_bytes) == words


def test_the_lines_for_the_service() -> None:
    """The numbers of the plan, in the variables that Ollama and its engine read."""
    plan = memory_estimate.plan(PAIR, 2, 1, bound(PAIR, 2, CacheType.Q8_0))
    assert [str(line) for line in environment.lines(plan, PAIR)] == [
        "OLLAMA_NUM_PARALLEL=2",
        "OLLAMA_MAX_LOADED_MODELS=2",
        "OLLAMA_CONTEXT_LENGTH=8192",
        "OLLAMA_KEEP_ALIVE=30m",
        "OLLAMA_MAX_QUEUE=512",
        "OLLAMA_FLASH_ATTENTION=1",
        "OLLAMA_KV_CACHE_TYPE=q8_0",
        "LLAMA_ARG_CACHE_RAM=0",
    ]
    in_turn = memory_estimate.plan(PAIR, 9, 1, bound(PAIR, 1, CacheType.Q4_0, together=False))
    assert [str(line) for line in environment.lines(in_turn, PAIR)][:2] == ["OLLAMA_NUM_PARALLEL=1", "OLLAMA_MAX_LOADED_MODELS=1"]


# the timeouts


def estimated(prompt_seconds: float, tokens_per_second: float, timeout_seconds: int = 30) -> TimeoutEstimate:
    return TimeoutEstimate(Step.VISION, timeout_seconds, 900, prompt_seconds, tokens_per_second, 1000)


@pytest.mark.parametrize(
    ("given", "needed_seconds", "level", "sufficient_seconds"),
    [
        (estimated(5, 100), 15, Level.OK, 25),
        (estimated(10, 100), 20, Level.OK, 30),
        (estimated(11, 100), 21, Level.WARNING, 35),
        (estimated(21, 100), 31, Level.FAILED, 50),
        (
            estimated(28, 1000),
            35,
            Level.FAILED,
            55,
        ),  # its first token comes after four fifths of 30 s, although all of it would fit
        (estimated(100, 10), 200, Level.FAILED, 300),
        (estimated(100, 4), 350, Level.FAILED, None),
    ],
)
def test_a_recommended_timeout_has_a_reserve(
    given: TimeoutEstimate, needed_seconds: float, level: Level, sufficient_seconds: int | None
) -> None:
    """Reading and writing with a reserve of half, the share of the first token, and the upper bound of a timeout."""
    assert (round(given.needed_seconds), given.level, given.sufficient_seconds) == (needed_seconds, level, sufficient_seconds)


def test_an_estimate_from_probes() -> None:
    """Reading time of the picture, speed over all written tokens. Too few tokens give no speed."""
    word = Probe(ProbeKind.WORD, Outcome.GOOD, tokens=10, tokens_seconds=1.0)
    page = Probe(ProbeKind.PICTURE, Outcome.GOOD, prompt_tokens=900, prompt_seconds=3.0, tokens=20, tokens_seconds=2.0)
    found = estimate(Step.VISION, "reader", [word, page], settings().worker)
    assert found == TimeoutEstimate(Step.VISION, 30, 900, 3.0, 10.0, 1000)
    assert estimate(Step.VISION, "reader", [word, replace(page, outcome=Outcome.SILENT)], settings().worker) is None
    assert estimate(Step.VISION, "reader", [replace(page, tokens=3)], settings().worker) is None


def test_thoughts_take_time() -> None:
    """A model that cannot stop thinking writes more than its answer."""
    job = Probe(ProbeKind.FEEDBACK, Outcome.GOOD, tokens=20, tokens_seconds=1.0)
    plain, thinking = (estimate(Step.FEEDBACK, name, [job], settings().worker) for name in ("gemma3:4b", "gpt-oss:20b"))
    assert plain
    assert thinking
    assert thinking.answer_tokens > plain.answer_tokens


# the page of known words


def test_a_known_page_is_drawn() -> None:
    """Each page has other words, and each line fits on it with its whole width."""
    first, second = known_page.draw(), known_page.draw()
    assert first.words != second.words
    assert (len(set(first.words)), set(first.words) <= set(known_page.VOCABULARY)) == (24, True)
    with Image.open(io.BytesIO(first.picture)) as page:
        assert page.size == (1131, 1600)
        dark = ImageChops.invert(page.convert("L")).getbbox()
    assert dark is not None
    assert 0 < dark[0] < dark[2] < 1131
    assert 0 < dark[1] < dark[3] < 1600


def test_no_word_is_part_of_another() -> None:
    """A word counts only once, however a model joins letters."""
    words = [word.casefold() for word in known_page.VOCABULARY]
    assert [(a, b) for a in words for b in words if a != b and a in b] == []


WORDS = ("Apfel", "Brief", "Dorf", "Esel", "Ofen")
READINGS: dict[str, tuple[str, Reading]] = {
    "whole": ("Apfel Brief\nDorf Esel Ofen", Reading.WHOLE),
    "in Markdown": ("**APFEL** Brief,\n* Dorf\n* Esel\n* Ofen.", Reading.WHOLE),
    "one missing": ("Apfel Brief Dorf Esel", Reading.WHOLE),
    "with a short introduction": ("Der Text: Apfel Brief Dorf Esel Ofen", Reading.WHOLE),
    "empty": ("\n ", Reading.NOTHING),
    "signs": ("... ???", Reading.NOTHING),
    "a description": ("Das Bild zeigt eine Seite mit einigen Wörtern.", Reading.OTHER),
    "two missing": ("Apfel Brief Dorf", Reading.OTHER),
    "in a description": ("Das Bild zeigt die Wörter Apfel, Brief, Dorf, Esel und Ofen.", Reading.ADDED),
    "repeated": ("Apfel Brief Dorf Esel Ofen " * 3, Reading.ADDED),
}


@pytest.mark.parametrize(("answer", "expected"), READINGS.values(), ids=READINGS.keys())
def test_an_answer_is_compared_with_the_page(answer: str, expected: Reading) -> None:
    """A reading has nearly all words and few others, in any order and case."""
    assert known_page.compare(WORDS, answer) is expected


# the findings


def checked(found: InstalledModel, **changes: object) -> ModelCheck:
    role, size = found.steps[0], found.weight_bytes
    timeout = {Step.VISION: 30, Step.FEEDBACK: 15}[role]
    good = ModelCheck(
        found.name,
        found.steps,
        found,
        ((role, Probe(ProbeKind.WORD, Outcome.GOOD)),),
        ListedModel(name=found.name, size=size, context_length=CONTEXT_TOKENS),
        (TimeoutEstimate(role, timeout, 900, 1.0, 200.0, 1000),),
    )
    return replace(good, **changes)  # type: ignore[arg-type]


def misread(outcome: Outcome, detail: str = "") -> ModelCheck:
    return checked(made("reader"), probes=((Step.VISION, Probe(ProbeKind.PICTURE, outcome, detail)),))


def not_ok(*checks: ModelCheck, memory: MemoryReport | None = None, given: dict[str, object] | None = None) -> list[Finding]:
    report = DoctorReport(
        settings(**{"AI_NUM_CTX": CONTEXT_TOKENS, **(given or {})}), "http://127.0.0.1:11434", "0.32.15", "", checks, memory
    )
    return [line for line in findings.findings(report) if line.level is not Level.OK]


def test_a_healthy_server_has_no_findings() -> None:
    assert not_ok(checked(made("reader")), checked(made("writer"))) == []


F16 = made(quantisation="F16", weight_bits=16)
SLOW = TimeoutEstimate(Step.FEEDBACK, 15, 900, 10.0, 20.0, 1000)
WIDE = TimeoutEstimate(Step.FEEDBACK, 15, 7200, 1.0, 200.0, 1000)
NO_PAGE = Probe(ProbeKind.PICTURE, Outcome.ERROR_STATUS, "status 400")
FAILED_LOAD = Probe(ProbeKind.LOAD, Outcome.ERROR_STATUS, "status 500")
SPILLED = ListedModel(name="writer", size=4 * GB, size_vram=GB, context_length=CONTEXT_TOKENS)
CASES: dict[str, tuple[ModelCheck, dict[str, object], Level, str, str]] = {
    "F16, one worker": (checked(F16), {}, Level.WARNING, "not quantised", "writer:q4_K_M"),
    "F16, two workers": (checked(F16), {"WORKER_CONCURRENCY": 2}, Level.FAILED, "not quantised", "writer:q4_K_M"),
    "F16, two calls": (checked(F16), {"OLLAMA_NUM_PARALLEL": 2}, Level.FAILED, "not quantised", "writer:q4_K_M"),
    "Q8_0": (checked(made(quantisation="Q8_0", weight_bits=8)), {}, Level.WARNING, "8 bits", "writer:q4_K_M"),
    "no word": (checked(made(quantisation="", weight_bits=None)), {}, Level.WARNING, "not known", "q4_K_M"),
    "missing": (checked(made(), model=None), {}, Level.FAILED, "writer is not on the server", "ollama pull writer"),
    "no words": (checked(made(capabilities=("embedding",))), {}, Level.FAILED, "writes no text", "AI_FEEDBACK_MODEL"),
    "blind": (checked(made("reader", capabilities=("completion",))), {}, Level.FAILED, "cannot see", "AI_VISION_MODEL"),
    "serial": (checked(made(family="qwen3vl")), {"OLLAMA_NUM_PARALLEL": 2}, Level.WARNING, "one call", "OLLAMA_NUM_PARALLEL=1"),
    "an error status": (checked(made(), probes=((Step.FEEDBACK, FAILED_LOAD),)), {}, Level.FAILED, "status 500", "journalctl"),
    "silent": (
        checked(made(), probes=((Step.FEEDBACK, Probe(ProbeKind.WORD, Outcome.SILENT)),)),
        {},
        Level.FAILED,
        "no answer",
        "smaller model",
    ),
    "disobedient": (
        checked(made(), probes=((Step.FEEDBACK, Probe(ProbeKind.SCHEMA, Outcome.DISOBEYED)),)),
        {},
        Level.FAILED,
        "JSON schema",
        "another model",
    ),
    "slow": (checked(made(), timeouts=(SLOW,)), {}, Level.FAILED, "takes about 60 s at 20.0 tokens/s", "AI_TIMEOUT_FEEDBACK=90"),
    "tight": (
        checked(made(), timeouts=(replace(SLOW, timeout_seconds=61),)),
        {},
        Level.WARNING,
        "is 61 s",
        "AI_TIMEOUT_FEEDBACK=90",
    ),
    "hopeless": (
        checked(made(), timeouts=(replace(SLOW, tokens_per_second=2.0),)),
        {},
        Level.FAILED,
        "2.0",
        "no timeout would do",
    ),
    "no speed": (checked(made(), timeouts=()), {}, Level.WARNING, "too little", "status"),
    "narrow": (checked(made(), timeouts=(WIDE,)), {}, Level.FAILED, "8200 tokens, and it has 8192", "AI_NUM_CTX_FEEDBACK=16384"),
    "page refused": (
        checked(made("reader"), probes=((Step.VISION, NO_PAGE),)),
        {},
        Level.FAILED,
        "refused it",
        "AI_NUM_CTX_VISION",
    ),
    "reads nothing": (misread(Outcome.READ_NOTHING), {}, Level.FAILED, "reads nothing", "another vision model"),
    "describes": (misread(Outcome.READ_OTHER), {}, Level.FAILED, "describes pages", "another vision model"),
    "adds": (misread(Outcome.ADDED), {}, Level.FAILED, "adds a text of its own", "another vision model"),
    "another prompt": (
        misread(Outcome.OTHER_PROMPT, "glm-ocr"),
        {},
        Level.FAILED,
        "only with another prompt",
        "AI_VISION_PROMPT=glm-ocr",
    ),
    "spilled": (checked(made(), loaded=SPILLED), {}, Level.WARNING, "only 25% of writer is on the GPU", "100% GPU"),
    "unloaded": (checked(made(), loaded=None), {}, Level.WARNING, "was gone", "OLLAMA_KEEP_ALIVE"),
    "clamped": (checked(made()), {"AI_NUM_CTX": 16_384}, Level.WARNING, "8192 tokens, not 16384", "AI_NUM_CTX"),
    "a small model": (
        checked(made(context_tokens=8192)),
        {"AI_NUM_CTX": 16_384},
        Level.WARNING,
        "at most 8192 tokens, and an essay of 4000 words needs up to 16384",
        "larger window",
    ),
}


@pytest.mark.parametrize(("given", "changes", "level", "subject", "remedy"), CASES.values(), ids=CASES.keys())
def test_a_finding_and_its_remedy(given: ModelCheck, changes: dict[str, object], level: Level, subject: str, remedy: str) -> None:
    """Each fault of a model is one finding with its level and its remedy."""
    [line] = not_ok(given, given=changes)
    assert line.level is level
    assert subject in line.subject
    assert remedy in line.remedy


def test_a_server_that_is_down() -> None:
    """It is the only finding, because nothing else is known then."""
    [line] = findings.findings(DoctorReport(settings(), "http://127.0.0.1:11434", None, "ConnectError"))
    assert (line.level, "ConnectError" in line.subject, "systemctl status ollama" in line.remedy) == (Level.FAILED, True, True)


def test_a_stub_is_not_a_failed_finding() -> None:
    """A trial run of `doctor` with the stub gives a warning that no model is in use yet."""
    [line] = not_ok(checked(made("reader")), checked(made("writer")), given={"AI_BACKEND": "stub"})
    assert (line.level, "AI_BACKEND=local" in line.remedy) == (Level.WARNING, True)


NEED = Need(2, CacheType.F16, ((memory_estimate.Term("weights", 4 * GB, ""),) * 2,) * 2, memory_estimate.Term("workers", 0, ""))
FITS = Plan(NEED, Fit.TOGETHER, 4, 4)
IN_TURN, TOO_LARGE = replace(FITS, fit=Fit.IN_TURN), replace(FITS, fit=Fit.NOT, largest_num_parallel=0)
FEWER, SQUEEZED = replace(TOO_LARGE, largest_num_parallel=1), replace(FITS, need=replace(NEED, cache_type=CacheType.Q8_0))
HOST = HostMeasured(None, 60 * GB, 64 * GB, None, None, None, 0.0)
MEMORY_CASES: dict[str, tuple[Plan, dict[str, object], dict[Level, str]]] = {
    "fits": (FITS, {}, {}),
    "does not fit": (TOO_LARGE, {}, {Level.FAILED: "take smaller models"}),
    "fewer would fit": (FEWER, {}, {Level.FAILED: "set OLLAMA_NUM_PARALLEL=1"}),
    "in turn": (IN_TURN, {"OLLAMA_MAX_LOADED_MODELS": 1}, {Level.WARNING: "take turns"}),
    "smaller cache": (SQUEEZED, {}, {Level.WARNING: "OLLAMA_KV_CACHE_TYPE=q8_0"}),
    "too many workers": (FITS, {"WORKER_CONCURRENCY": 5}, {Level.WARNING: "WORKER_CONCURRENCY=4"}),
    "above the limit": (FITS, {"OLLAMA_MEMORY_LIMIT": "8G"}, {Level.FAILED: "raise it"}),
    "configured otherwise": (FITS, {"OLLAMA_MAX_LOADED_MODELS": 1}, {Level.WARNING: "OLLAMA_MAX_LOADED_MODELS=2"}),
    "no turns": (FITS, {"WORKER_CONCURRENCY": 2, "AI_TAKE_TURNS": "false"}, {Level.WARNING: "AI_NUM_THREAD=2"}),
    "turns": (FITS, {"WORKER_CONCURRENCY": 2}, {}),
    "own threads": (FITS, {"WORKER_CONCURRENCY": 2, "AI_TAKE_TURNS": "false", "AI_NUM_THREAD": 2}, {}),
}


@pytest.mark.parametrize(("plan", "changes", "expected"), MEMORY_CASES.values(), ids=MEMORY_CASES.keys())
def test_findings_about_memory(plan: Plan, changes: dict[str, object], expected: dict[Level, str]) -> None:
    """One finding for each contradiction between estimate and settings, and none without."""
    memory = MemoryReport(MemoryLocation.HERE, HOST, 4, Budget(60 * GB, 0, GB), PAIR, plan, ())
    lines = not_ok(checked(made("reader")), memory=memory, given=changes)
    assert {line.level for line in lines} == expected.keys()
    assert [level for level, text in expected.items() if not any(text in line.remedy for line in lines)] == []


def test_an_estimate_that_fits_names_the_largest_numbers() -> None:
    """The largest number of calls and of workers."""
    memory = MemoryReport(MemoryLocation.HERE, HOST, 4, Budget(60 * GB, 0, GB), PAIR, replace(FITS, useful_workers=3), ())
    subjects = [line.subject for line in memory_findings(memory, settings())]
    assert any("the largest that fits is 4; the largest useful WORKER_CONCURRENCY is 3" in each for each in subjects)


@pytest.mark.parametrize(
    ("gpu", "level", "text"),
    [
        (Budget(10 * GB, 6 * GB, 0), Level.OK, "16.0 GB of 16.0 GB"),
        (Budget(10 * GB, 2 * GB, 0), Level.WARNING, "75% fits"),
        (None, Level.OK, "does not report"),
    ],
)
def test_the_share_of_the_models_on_the_gpu(gpu: Budget | None, level: Level, text: str) -> None:
    """Workers are in main memory and do not count. The rest of a model runs on the CPU, which is slow but no failure."""
    need = replace(NEED, workers=memory_estimate.Term("workers", GB, ""))
    plan = replace(FITS, fit=Fit.UNKNOWN, largest_num_parallel=None, need=need)
    line, *_ = memory_findings(MemoryReport(MemoryLocation.GPU, HOST, 4, None, PAIR, plan, (), gpu), settings())
    assert (line.level, text in line.subject) == (level, True)


def test_earlier_prompts_that_would_not_fit_are_reported() -> None:
    """No request can read the server's setting, so there is a warning if the caches of both models would not fit."""
    memory = MemoryReport(MemoryLocation.HERE, HOST, 4, Budget(20 * GB, 0, GB), PAIR, FITS, ())
    assert [line.level for line in not_ok(checked(made("reader")), memory=memory) if "old prompts" in line.subject] == [
        Level.WARNING
    ]


@pytest.mark.parametrize(("given", "changes"), [case[:2] for case in CASES.values()], ids=CASES.keys())
def test_every_finding_fits_80_columns(given: ModelCheck, changes: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    """With the memory estimate and the lines for the service, and no word is broken."""
    lines = environment.lines(FITS, PAIR)
    memory = MemoryReport(MemoryLocation.HERE, HOST, 4, Budget(20 * GB, 0, GB), PAIR, FITS, lines)
    report = DoctorReport(settings(**changes), "http://127.0.0.1:11434", "0.32.15", "", (given,), memory)
    assert_fits(*(printed(report, width, capsys) for width in (WIDTH, 1000)))


def printed(report: DoctorReport, width: int, capsys: pytest.CaptureFixture[str]) -> str:
    view.show(report, findings.findings(report), Console(width=width))
    return capsys.readouterr().out


def test_a_long_path_stays_whole() -> None:
    """It gets a line of its own, and a command stays on one line too."""
    path = "/var/lib/" + "directory/" * 9
    assert wrapped(f"no files in {path}: create it", WIDTH, "  ") == f"no files in\n  {path}:\n  create it"
    assert wrapped(f"{'x' * 60}: run `ollama pull words:q4_K_M`", WIDTH) == f"{'x' * 60}: run\n`ollama pull words:q4_K_M`"
