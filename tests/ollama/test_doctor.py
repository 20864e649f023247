"""`doctor` as an operator runs it, against a server: its findings, its requests, its exit code."""

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from supervisor.admission.facts import HostMeasured
from supervisor.cli.main import main
from supervisor.doctor import probe
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.raw_server import END, HEAD, Peer, raw_server, status
from worker.ollama.api import CHAT, SHOW, TAGS, VERSION, Body, Endpoint, Reply
from worker.ollama.client import Ollama
from worker.ollama.errors import InvalidReply
from worker.ollama.models import ListedModels

HOST_BYTES, FREE_BYTES = 32_000_000_000, 30_000_000_000
MODELS = [
    "eyes:vision:quant=Q4_K_M",
    "words:quant=Q4_K_M",
    "f16:quant=F16",
    "q8:quant=Q8_0",
    "gpt-oss:latest:thinking",
    "huge:quant=Q4_K_M:size=40GiB",
    "narrow:quant=Q4_K_M:context=8192",
    "away:quant=Q4_K_M:remote=ollama.com",
    "night:vision:blind:quant=Q4_K_M",
    "teller:vision:describing:quant=Q4_K_M",
    "school-ocr:vision:looping:quant=Q4_K_M",
    "glm-ocr:vision:looping:quant=Q4_K_M",
]
READY, FAILS = 0, 1


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[SimulatorProcess]:
    """It takes more than a second for a page of 1000 tokens."""
    with start_simulator(model=MODELS, tokens_per_second=800, load_seconds=0.02, vision_seconds=0.01) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def _a_host_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory findings do not depend on the machine that runs the tests."""
    measured = HostMeasured(None, FREE_BYTES, HOST_BYTES, None, None, None, 0.0)
    monkeypatch.setattr("supervisor.monitor.ollama.host.Host.measured", lambda _: measured)


def doctor(url: str, *options: str, **settings: object) -> Result:
    given = {
        "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning",
        "AI_BACKEND": "local",
        "OLLAMA_BASE_URL": url,
        "AI_VISION_MODEL": "eyes",
        "AI_FEEDBACK_MODEL": "words",
        "AI_TIMEOUT_VISION": "300",  # speeds matter only in tests that set these
        "AI_TIMEOUT_FEEDBACK": "300",
        "COLUMNS": "200",
    }
    return CliRunner().invoke(main, ["doctor", *options], env=given | {name: str(value) for name, value in settings.items()})


def wrong(result: Result) -> list[tuple[str, str, str]]:
    """Level, subject and remedy of each finding that is not ok."""
    findings = json.loads(result.stdout)["findings"]
    return [(each["level"], each["subject"], each["remedy"]) for each in findings if each["level"] != "ok"]


def test_all_is_well(simulator: SimulatorProcess) -> None:
    """Both models answer, fit and are fast enough: exit code 0, and the document has the figures."""
    result = doctor(simulator.url, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["state"], wrong(result)) == (READY, "ok", [])
    assert document["server"]["version"] == "0.32.15"
    assert [model["steps"] for model in document["models"]] == [["vision"], ["feedback"]]
    kinds = [[probe["kind"] for probe in model["probes"]] for model in document["models"]]
    assert kinds == [["load", "word", "picture"], ["load", "word", "schema", "feedback"]]
    assert all(model["timeouts"][0]["tokens_per_second"] > 0 for model in document["models"])
    assert document["memory"]["fit"] == "together"
    assert document["environment"]["OLLAMA_MAX_LOADED_MODELS"] == "2"


CASES: dict[str, tuple[dict[str, object], int, str, str, str]] = {
    "F16": ({"AI_FEEDBACK_MODEL": "f16", "WORKER_CONCURRENCY": 2}, FAILS, "failed", "not quantised", "f16:q4_K_M"),
    "Q8_0": ({"AI_FEEDBACK_MODEL": "q8"}, READY, "warning", "8 bits a weight", "q8:q4_K_M"),
    "missing": ({"AI_FEEDBACK_MODEL": "nobody"}, FAILS, "failed", "nobody is not on the server", "ollama pull nobody"),
    "blind": ({"AI_VISION_MODEL": "words"}, FAILS, "failed", "words cannot see pictures", "AI_VISION_MODEL"),
    "reads nothing": ({"AI_VISION_MODEL": "night"}, FAILS, "failed", "night reads nothing", "another vision model"),
    "describes": ({"AI_VISION_MODEL": "teller"}, FAILS, "failed", "teller does not return the words", "another vision model"),
    "another prompt": ({"AI_VISION_MODEL": "school-ocr"}, FAILS, "failed", "another prompt", "set AI_VISION_PROMPT=glm-ocr"),
    "our sentences": (
        {"AI_VISION_MODEL": "glm-ocr", "AI_VISION_PROMPT": "sentences"},
        FAILS,
        "failed",
        "another prompt",
        "set AI_VISION_PROMPT=glm-ocr",
    ),
    "elsewhere": ({"AI_FEEDBACK_MODEL": "away"}, FAILS, "failed", "away runs outside of the house", "a local model"),
    "allowed elsewhere": (
        {"AI_FEEDBACK_MODEL": "away", "AI_SEND_PUPILS_WORK_TO_CLOUD": "true"},
        READY,
        "warning",
        "away runs outside of the house (https://ollama.com:443)",
        "is sent there",
    ),
    "too slow": ({"AI_TIMEOUT_VISION": 1}, FAILS, "failed", "AI_TIMEOUT_VISION is 1 s", "set AI_TIMEOUT_VISION="),
    "too large": ({"AI_FEEDBACK_MODEL": "huge"}, FAILS, "failed", "does not fit", "take smaller models"),
    "a stub": ({"AI_BACKEND": "stub"}, READY, "warning", "still invented", "AI_BACKEND=local"),
}


@pytest.mark.parametrize(("settings", "exit_code", "level", "subject", "remedy"), CASES.values(), ids=CASES.keys())
def test_each_fault_is_found(
    simulator: SimulatorProcess, settings: dict[str, object], exit_code: int, level: str, subject: str, remedy: str
) -> None:
    """The exit code is 1 if jobs would fail, and a finding names the fault and its remedy."""
    result = doctor(simulator.url, "--json", **settings)
    assert result.exit_code == exit_code
    assert [each for each in wrong(result) if each[0] == level and subject in each[1] and remedy in each[2]]


@pytest.mark.parametrize("prompt", [{}, {"AI_VISION_PROMPT": "glm-ocr", "AI_VISION_MODEL": "school-ocr"}], ids=["by name", "set"])
def test_a_model_that_reads_with_its_own_prompt(simulator: SimulatorProcess, prompt: dict[str, object]) -> None:
    """With the prompt of its family an OCR model reads the page of known words."""
    result = doctor(simulator.url, "--json", **({"AI_VISION_MODEL": "glm-ocr"} | prompt))
    assert (result.exit_code, wrong(result)) == (READY, [])


def test_the_windows_are_those_of_the_workers(simulator: SimulatorProcess) -> None:
    """All requests to a model ask for the workers' window, at most the model's own. The memory estimate has these windows."""
    simulator.reset_calls()
    result = doctor(simulator.url, "--json", AI_FEEDBACK_MODEL="narrow")
    asked = {(call["model"], call["num_ctx"]) for call in simulator.calls()}
    assert asked == {("eyes:latest", 12_288), ("narrow:latest", 8192)}
    [(level, subject, _)] = wrong(result)
    assert (level, "at most 8192 tokens, and an essay of 4000 words needs up to 16384" in subject) == ("warning", True)
    models = json.loads(result.stdout)["memory"]["models"]
    contexts = [term["how"] for terms in models.values() for term in terms if term["what"] == "context"]
    assert ["12288 tokens" in contexts[0], "8192 tokens" in contexts[1]] == [True, True]


def test_memory_of_loaded_models_is_available(simulator: SimulatorProcess) -> None:
    """Memory of a loaded model is not free, but the model needs no further memory."""
    simulator.client.post("/api/generate", json={"model": "q8"})
    [held] = simulator.client.get("/api/ps").json()["models"]
    memory = json.loads(doctor(simulator.url, "--json").stdout)["memory"]
    assert memory["budget_bytes"] == FREE_BYTES + held["size"] - HOST_BYTES // 10


def test_memory_of_the_cards_is_compared(simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """With models on a GPU the estimate is compared with its memory. The simulator has no GPU, so its list is changed."""
    simulator.client.post("/api/generate", json={"model": "q8"})
    [held] = simulator.client.get("/api/ps").json()["models"]
    look_up = Ollama.look_up

    def on_the_gpu(server: Ollama, endpoint: Endpoint[Reply], body: Body | None = None) -> Reply:
        reply = look_up(server, endpoint, body)
        if not isinstance(reply, ListedModels):
            return reply
        return reply.model_copy(update={"models": [each.model_copy(update={"size_vram": each.size}) for each in reply.models]})

    on_card = HostMeasured(None, FREE_BYTES, HOST_BYTES, None, None, 1_000_000, 0.0)
    monkeypatch.setattr(Ollama, "look_up", on_the_gpu)
    monkeypatch.setattr("supervisor.monitor.ollama.host.Host.measured", lambda _: on_card)
    result = doctor(simulator.url, "--json")
    memory = json.loads(result.stdout)["memory"]
    assert (memory["location"], memory["budget_bytes"], memory["gpu_budget_bytes"]) == ("gpu", None, held["size"] + 1_000_000)
    assert (result.exit_code, [subject for _, subject, _ in wrong(result) if "on the GPU" in subject] != []) == (READY, True)
    assert "free on the GPU" in doctor(simulator.url).stdout


def test_an_answer_without_an_end(simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is longer than allowed is not read to its end."""
    monkeypatch.setattr(Endpoint, "limit_bytes", lambda *_: 100)
    assert doctor(simulator.url, "--json").exit_code == FAILS


def test_mxfp4_is_quantised(simulator: SimulatorProcess) -> None:
    """The platform's default model counts as four bits, also with several workers. It thinks and obeys the schema."""
    result = doctor(simulator.url, "--json", AI_FEEDBACK_MODEL="gpt-oss:latest", WORKER_CONCURRENCY=2)
    assert (result.exit_code, [subject for _, subject, _ in wrong(result) if "old prompts" not in subject]) == (READY, [])


def test_a_server_that_is_down() -> None:
    """It is the only finding."""
    result = doctor("http://127.0.0.1:1", "--json")
    assert (result.exit_code, [level for level, _, _ in wrong(result)]) == (FAILS, ["failed"])


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", HEAD + END, b"SSH-2.0\r\n", b""])
def test_another_server_at_the_address(answer: bytes) -> None:
    """A server that is not Ollama is reported like one that is down, without a traceback."""

    def stranger(peer: Peer) -> None:
        peer.request(skips_descriptions=False)
        peer.send(answer)

    with raw_server(stranger) as url:
        result = doctor(url, "--json")
    assert (result.exit_code, [level for level, _, _ in wrong(result)]) == (FAILS, ["failed"])


IMPOSSIBLE: dict[str, tuple[Callable[[Ollama], object], bytes]] = {
    "a version without an end": (lambda server: server.look_up(VERSION), b'{"version": "%s"}' % (b"9" * 100_000)),
    "a version that moves the cursor": (lambda server: server.look_up(VERSION), b'{"version": "\\u001b[31m"}'),
    "a file larger than any": (
        lambda server: server.look_up(TAGS),
        b'{"models": [{"name": "eyes", "size": 1%s}]}' % (b"0" * 400),
    ),
    "a speed beyond all": (lambda server: server.request(CHAT, {}, 5.0), b'{"done": true, "eval_count": 1%s}' % (b"0" * 400)),
}


@pytest.mark.parametrize(("request_of", "body"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_impossible_reply_is_invalid(request_of: Callable[[Ollama], object], body: bytes) -> None:
    """A number that would overflow the sum, and a word that would break the output, do not pass the client."""
    with raw_server(reply_with(body)) as url, pytest.raises(InvalidReply):
        request_of(Ollama(url))


def test_a_description_keeps_its_possible_values() -> None:
    """An infinite and a huge number are dropped. The other values stay."""
    body = b'{"model_info": {"endless": 1e999, "huge": 1%s, "layers": 28, "architecture": "llama"}}' % (b"0" * 400)
    with raw_server(reply_with(body)) as url:
        assert Ollama(url).look_up(SHOW, {"model": "eyes"}).model_info == {"layers": 28, "architecture": "llama"}


def reply_with(body: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.request(skips_descriptions=False)
        peer.send(status(200, body))

    return script


FAULTS: dict[str, tuple[str, str]] = {
    "status_500": ("Ollama answered with status 500", "journalctl"),
    "status_503": ("Ollama has no room", "outside of class"),
    "disconnect": ("no answer", "smaller model"),
    "hang": ("no answer", "smaller model"),
    "done_false": ("not an answer as it was asked for", "another model"),
}


@pytest.mark.parametrize(("fault", "expected"), FAULTS.items(), ids=FAULTS.keys())
def test_a_model_that_fails(
    simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch, fault: str, expected: tuple[str, str]
) -> None:
    """The first failed request is reported with its reason and ends the probes of this model. The other model is probed."""
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.5)
    simulator.fault(fault, "eyes")
    result = doctor(simulator.url, "--json")
    [(level, subject, remedy)] = wrong(result)
    assert (result.exit_code, level, expected[0] in subject, expected[1] in remedy) == (FAILS, "failed", True, True)
    models = json.loads(result.stdout)["models"]
    assert [[each["kind"] for each in model["probes"]][-1] for model in models] == ["word", "feedback"]


@pytest.mark.parametrize("answer", ["Ja.", "[17]", '{"correct": true}'])
def test_a_model_that_does_not_keep_to_the_schema(simulator: SimulatorProcess, answer: str) -> None:
    """Its feedback would be rejected in each job. Its answer is not shown."""
    simulator.fault("say", "words", times=2, text=answer)
    result = doctor(simulator.url, "--json")
    assert [subject for _, subject, _ in wrong(result)] == [
        "words: an answer by a JSON schema failed: not an answer as it was asked for"
    ]
    assert answer not in result.output


def test_its_requests_are_those_of_the_workers(simulator: SimulatorProcess) -> None:
    """The same options, so that no model is loaded twice, and no keep_alive."""
    doctor(simulator.url, AI_NUM_CTX=8192)
    windows = {model["name"]: model["context_length"] for model in simulator.client.get("/api/ps").json()["models"]}
    assert windows == {"eyes:latest": 8192, "words:latest": 8192}
    assert [call["outcome"] for call in simulator.calls()] == ["done"] * 7
    assert [call["has_image"] for call in simulator.calls()].count(True) == 1


def test_one_model_for_both(simulator: SimulatorProcess) -> None:
    """It is counted once and probed for both steps."""
    document = json.loads(doctor(simulator.url, "--json", AI_FEEDBACK_MODEL="eyes").stdout)
    [model] = document["models"]
    assert (model["steps"], list(document["memory"]["models"])) == (["vision", "feedback"], ["eyes:latest"])
    assert [each["step"] for each in model["timeouts"]] == ["vision", "feedback"]


def test_the_output_has_a_fixed_sequence(simulator: SimulatorProcess) -> None:
    """Memory, speed, the lines for the service, findings and summary."""
    result = doctor(simulator.url, AI_TIMEOUT_VISION=1)
    service = "[Service]", "Environment=OLLAMA_NUM_PARALLEL=1", "Environment=LLAMA_ARG_CACHE_RAM=0"
    parts = "Memory needed", "sum ", "available", "tokens/s", *service, "failed ", "Jobs would fail: 1 to correct first"
    places = [result.stdout.find(part) for part in parts]
    assert places == sorted(places)
    assert places[0] >= 0


def test_its_output_fits_80_columns(simulator: SimulatorProcess) -> None:
    """A real run: no line is longer, and the longest command of it is whole."""
    lines = doctor(simulator.url, AI_FEEDBACK_MODEL="f16", COLUMNS=80).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("`ollama pull f16:q4_K_M`" in line for line in lines)


def test_foreign_adapters_are_not_probed(simulator: SimulatorProcess) -> None:
    """No model is called, and one warning explains why."""
    foreign = "tests.platform_adapters.vision"
    result = doctor(simulator.url, "--json", LEARNING_VISION_ADAPTER=foreign, LEARNING_FEEDBACK_ADAPTER=foreign)
    assert (result.exit_code, [level for level, _, _ in wrong(result)], simulator.calls()) == (READY, ["warning"], [])


def test_foreign_adapters_need_no_ollama() -> None:
    """Their model server may be another one, so an Ollama that does not answer is a warning."""
    foreign = "tests.platform_adapters.vision"
    result = doctor("http://127.0.0.1:9", LEARNING_VISION_ADAPTER=foreign, LEARNING_FEEDBACK_ADAPTER=foreign)
    assert (result.exit_code, "No model was tested; 1 to check" in result.stdout) == (READY, True)
