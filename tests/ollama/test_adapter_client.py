"""The worker's client of Ollama: each way in which a conversation can end has its own exception, in time."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from supervisor.settings.model import parse
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.raw_server import END, HEAD, Peer, chunk, content_line, done, line, raw_server, status
from testkit.waiting import LIMIT_SECONDS, until
from worker.adapters import vision
from worker.core.errors import (
    FeedbackPermanentError,
    FeedbackTransientError,
    Unavailable,
    VisionPermanentError,
    VisionTransientError,
)
from worker.core.retry import failure_of
from worker.ipc.contract import (
    MAX_REPORTED_SECONDS,
    MAX_TOKENS_PER_SECOND,
    CallOutcome,
    ErrorCode,
    Event,
    EventKind,
    ModelCall,
    Step,
)
from worker.ollama import errors
from worker.ollama.client import ChatRequest, Ollama, deadline_in
from worker.ollama.deadline import Deadline
from worker.ollama.repetition import DOCUMENT_CHARACTERS
from worker.settings import WorkerSettings

PRIVATE = "GeheimeAbgabe"
QUESTION = ChatRequest("chain", ({"role": "user", "content": PRIVATE},), {}, 256, DOCUMENT_CHARACTERS)
LONG_SECONDS = 15.0
EMPTY_LIST = status(200, b'{"models":[]}')
Script = Callable[[Peer], None]


def ollama(url: str) -> Ollama:
    return Ollama(url, lambda: None)


def caught(url: str, deadline: Deadline | None = None, request: ChatRequest = QUESTION) -> BaseException:
    with pytest.raises(Exception) as raised:
        ollama(url).chat(request, deadline or deadline_in(LONG_SECONDS))
    assert PRIVATE not in str(raised.value)
    return raised.value


def answering(*parts: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*parts)

    return script


FAULTS = {
    "status_503": Unavailable,
    "status_500": errors.ServerError,
    "nested_error": errors.ServerError,
    "status_404": errors.ModelMissing,
    "status_400": errors.BadRequest,
    "disconnect": errors.StreamBroken,
    "eof": errors.StreamBroken,
    "done_false": errors.StreamBroken,
    "garbage": errors.StreamBroken,
    "kill_runner": errors.ServerError,
    "truncated": errors.AnswerTruncated,
    "thinking_only": errors.EmptyAnswer,
    "endless": errors.Runaway,
    "repeat": errors.Runaway,
}
OUTCOMES = {
    "status_503": CallOutcome.BUSY,
    "status_400": CallOutcome.BAD_REQUEST,
    "truncated": CallOutcome.ANSWERED,
    "endless": CallOutcome.RUNAWAY,
    "repeat": CallOutcome.RUNAWAY,
}


@pytest.mark.parametrize(("kind", "error"), FAULTS.items(), ids=FAULTS.keys())
def test_outcomes(simulator: SimulatorProcess, kind: str, error: type[Exception]) -> None:
    """Each fault has its own class and one report, and the next request after it is answered."""
    simulator.fault(kind)
    calls: list[ModelCall] = []
    client = Ollama(simulator.url, lambda: None, calls.append)
    with pytest.raises(error) as raised:
        client.chat(replace(QUESTION, max_tokens=2048), deadline_in(LONG_SECONDS))
    assert type(raised.value) is error
    assert client.chat(QUESTION, deadline_in(LONG_SECONDS)).text
    assert [call.outcome for call in calls] == [OUTCOMES.get(kind, CallOutcome.FAILED), CallOutcome.ANSWERED]


RAW = {
    "an error line": ((HEAD, content_line("a"), line(error=PRIVATE), END), errors.ServerError),
    "the end of the stream without done": ((HEAD, content_line("a"), END), errors.StreamBroken),
    "the end of the connection": ((HEAD, content_line("a")), errors.StreamBroken),
    "done without reason and text": ((HEAD, content_line(" "), done(""), END), errors.EmptyAnswer),
    "done with all tokens and no reason": ((HEAD, content_line("a"), done("", eval_count=256), END), errors.AnswerTruncated),
    "done with as many lines and no count": (
        (HEAD, *(content_line(f"{number} ") for number in range(256)), done(""), END),
        errors.AnswerTruncated,
    ),
    "only loaded, with text": ((HEAD, content_line("a"), done("load"), END), errors.EmptyAnswer),
    "only loaded": ((HEAD, done("load"), END), errors.EmptyAnswer),
    "only unloaded": ((HEAD, done("unload"), END), errors.EmptyAnswer),
    "cut at num_predict": ((HEAD, content_line("a"), done("length"), END), errors.AnswerTruncated),
    "a line that is a list": ((HEAD, chunk(b"[]\n")), errors.StreamBroken),
    "a line without an end": ((HEAD, chunk(b" " * 65_536) * 30), errors.Runaway),
    "half a character": ((HEAD, chunk(b'{"message":{"content":"\xc3"}}\n')), errors.StreamBroken),
    "more lines than tokens": ((HEAD, line(message={"content": ""}) * 1000), errors.Runaway),
    "more text than tokens": ((HEAD, content_line("".join(map(str, range(4000))))), errors.Runaway),
    "endless white space": ((HEAD, *(content_line(" \n ") for _ in range(400))), errors.Runaway),
    "no HTTP": ((b"\0" * 100,), errors.StreamBroken),
    "an unknown status": ((status(302, b""),), errors.ServerError),
    "400 without JSON": ((status(400, b"no"),), errors.BadRequest),
    "400 with a list": ((status(400, b'{"error":[]}'),), errors.BadRequest),
    "400 that is too big": ((status(400, b'{"error":"' + b"x" * 200_000 + b'"}'),), errors.BadRequest),
    "a prompt that is too long": (
        (status(400, b'{"error":"the input length exceeds the context length"}'),),
        errors.PromptTooLong,
    ),
    "a prompt that is too long, by the engine's type": (
        (status(400, b'{"error":"{\\"error\\":{\\"message\\":\\"no\\",\\"type\\":\\"exceed_context_size_error\\"}}"}'),),
        errors.PromptTooLong,
    ),
    "a picture that is none": (
        (status(400, b'{"error":"{\\"error\\":{\\"code\\":400,\\"message\\":\\"Failed to load image or audio file\\"}}"}'),),
        errors.ImageUnreadable,
    ),
}


@pytest.mark.parametrize(("parts", "error"), RAW.values(), ids=RAW.keys())
def test_raw_outcomes(parts: tuple[bytes, ...], error: type[Exception]) -> None:
    """For any bytes received, the class names the fault and the message does not quote them."""
    with raw_server(answering(*parts)) as url:
        assert type(caught(url)) is error


def test_an_error_without_an_end() -> None:
    """Only the beginning of an error's body is read."""
    with raw_server(trickling(HEAD.replace(b"200 OK", b"400 Bad Request"), chunk(b"x" * 65_536))) as url:
        assert type(caught(url)) is errors.BadRequest


def test_a_refused_connection() -> None:
    """The server counts as unreachable."""
    with raw_server() as url:
        pass
    assert type(caught(url)) is errors.ServerUnreachable


VOCABULARY = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
COMMON = [each for each in VOCABULARY if issubclass(each, errors.ServerFailed | errors.BadRequest)]


@pytest.mark.parametrize("error", COMMON, ids=lambda each: each.__name__)
def test_every_class_means_the_same_in_both_steps(error: type[Exception]) -> None:
    """By the contract's names each class is transient or permanent, equally in both steps."""
    is_transient = issubclass(error, errors.ServerFailed)
    names = (VisionTransientError, FeedbackTransientError) if is_transient else (VisionPermanentError, FeedbackPermanentError)
    assert all(issubclass(error, name) for name in names)
    assert failure_of(error("no code"), Step.VISION).error_class == error.__name__


def test_an_input_error_has_its_code() -> None:
    """Two rejections are caused by the input and have its error codes. The others have none."""
    assert errors.PromptTooLong().error_code is ErrorCode.INPUT_TOO_LARGE
    assert errors.ImageUnreadable().error_code is ErrorCode.INPUT_CORRUPT
    assert errors.BadRequest("status 400").error_code is None


def bounds(first: float = LONG_SECONDS, silence: float = LONG_SECONDS, end: float = LONG_SECONDS) -> Deadline:
    now_seconds = time.monotonic()
    return Deadline(now_seconds + end, now_seconds + first, silence)


def silent(*parts: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*parts)
        peer.wait_for_its_end()

    return script


def trickling(start: bytes, part: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start)
        peer.send_until_it_leaves(part, pause_seconds=0.02)

    return script


LATE = {
    "no byte at all": (silent(), {"first": 0.2}, errors.FirstTokenTimeout),
    "headers and no token": (silent(HEAD), {"first": 0.2}, errors.FirstTokenTimeout),
    "headers byte by byte": (trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x"), {"first": 0.3}, errors.FirstTokenTimeout),
    "lines that say nothing": (trickling(HEAD, line(done=False)), {"first": 0.3}, errors.FirstTokenTimeout),
    "a line byte by byte": (trickling(HEAD, chunk(b" ")), {"end": 0.3}, errors.AnswerTimeout),
    "a token, then silence": (silent(HEAD, content_line("a")), {"silence": 0.2}, errors.TokenTimeout),
    "tokens without an end": (trickling(HEAD, content_line("a")), {"end": 0.3}, errors.AnswerTimeout),
}


@pytest.mark.parametrize(("script", "given", "error"), LATE.values(), ids=LATE.keys())
def test_deadlines(script: Script, given: dict[str, float], error: type[Exception]) -> None:
    """Each of the three bounds ends a conversation by itself, also with a trickling answer, and long before the other two."""
    with raw_server(script) as url:
        assert type(caught(url, bounds(**given))) is error


def test_a_server_that_does_not_take_the_request() -> None:
    """Sending has the same bounds as reading, also if the server does not read a picture.

    The connection exists already: on a slow machine the time could otherwise pass before the first byte is sent.
    """
    big = replace(QUESTION, messages=({"role": "user", "content": "x", "images": ["x" * 30_000_000]},))
    given_up, was_given_up = threading.Event(), []

    def deaf(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD, content_line("a"), done(), END)
        was_given_up.append(given_up.wait(LIMIT_SECONDS))

    with raw_server(deaf) as url:
        client = ollama(url)
        client.chat(QUESTION, deadline_in(LONG_SECONDS))
        with pytest.raises(errors.FirstTokenTimeout):
            client.chat(big, bounds(first=0.3))
        given_up.set()
    assert was_given_up == [True]


def closing_when_asked_again(*parts: bytes) -> Script:
    """Answer one request. Close the connection after the next one, as if both had happened at the same moment."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(EMPTY_LIST)
        peer.request()
        peer.send(*parts)

    return script


def test_a_kept_connection_that_closes_before_the_reply() -> None:
    """A list is requested once more, on a new connection."""
    with raw_server(closing_when_asked_again(), closing_when_asked_again(), answering(EMPTY_LIST)) as url:
        client = ollama(url)
        assert [client.digest("chain") for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("part", [HEAD, b"H"], ids=["after the head", "after one byte"])
def test_a_kept_connection_that_closes_within_the_reply(part: bytes) -> None:
    """A reply that has begun is not requested a second time."""
    with raw_server(closing_when_asked_again(part)) as url:
        client = ollama(url)
        client.digest("chain")
        with pytest.raises(errors.LookupFailed):
            client.digest("chain")


def test_a_new_connection_that_closes_before_the_reply() -> None:
    """The server has closed it because of this request, or has died: no further try."""
    with raw_server(answering(), closing_when_asked_again(), answering()) as url:
        client = ollama(url)
        with pytest.raises(errors.LookupFailed):
            client.digest("chain")
        client.digest("chain")
        with pytest.raises(errors.LookupFailed):
            client.digest("chain")


def test_a_chat_is_sent_once() -> None:
    """Its prompt may be the cause of the closed connection."""
    with raw_server(closing_when_asked_again()) as url:
        client = ollama(url)
        client.digest("chain")
        with pytest.raises(errors.StreamBroken):
            client.chat(QUESTION, deadline_in(LONG_SECONDS))


def test_a_late_answer_dies_with_its_connection() -> None:
    """A late answer to an abandoned conversation never reaches the next one."""

    def late(peer: Peer) -> None:
        peer.request()
        peer.wait_for_its_end()
        peer.send(HEAD, content_line("der erste"), done(), END)

    with raw_server(late, answering(HEAD, content_line("der zweite"), done(), END)) as url:
        client = ollama(url)
        with pytest.raises(errors.FirstTokenTimeout):
            client.chat(QUESTION, bounds(first=0.2))
        assert client.chat(QUESTION, deadline_in(LONG_SECONDS)).text == "der zweite"


@pytest.mark.parametrize("given", [{"silence": 0.1}, {"end": 0.1}], ids=["a token", "the end"])
def test_an_answer_that_arrived_in_time_is_not_silence(given: dict[str, float]) -> None:
    """The rest of an answer arrives before the deadline, and this process does not run until after it. The answer is read."""
    has_arrived = threading.Event()

    def in_time(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD, content_line("eins"))
        has_arrived.wait(LIMIT_SECONDS)
        peer.send(content_line(" und zwei"), done(), END)
        has_arrived.clear()

    def is_descheduled() -> None:
        if time.monotonic() < until_seconds:
            has_arrived.set()
            until(lambda: not has_arrived.is_set() and time.monotonic() > until_seconds)

    with raw_server(in_time) as url:
        until_seconds = time.monotonic() + 0.2
        assert Ollama(url, is_descheduled).chat(QUESTION, bounds(**given)).text == "eins und zwei"


def test_a_finished_answer_keeps_its_connection() -> None:
    """After a whole body the next request uses the same connection."""

    def twice(peer: Peer) -> None:
        for word in ("eins", "zwei"):
            peer.request()
            peer.send(HEAD, content_line(word), done(), END)

    with raw_server(twice) as url:
        client = ollama(url)
        assert [client.chat(QUESTION, deadline_in(LONG_SECONDS)).text for _ in range(2)] == ["eins", "zwei"]


@pytest.mark.parametrize("rest", [b"", content_line("zu spät") + END, b"garbage"], ids=["no end", "more lines", "garbage"])
def test_data_after_the_last_line_is_ignored(rest: bytes) -> None:
    """The answer is valid with any data after its last line, and the connection is not used again."""
    first = silent(HEAD, content_line("eins"), done(), rest)
    with raw_server(first, answering(HEAD, content_line("zwei"), done(), END)) as url:
        client = ollama(url)
        assert [client.chat(QUESTION, deadline_in(LONG_SECONDS)).text for _ in range(2)] == ["eins", "zwei"]


def test_progress_is_text_or_thought() -> None:
    """A line with text or a thought is progress, and an empty one is not."""
    reported: list[None] = []
    thought = line(message={"content": "", "thinking": "hm"})
    with raw_server(
        answering(HEAD, thought, line(message={"content": ""}), content_line("a"), content_line("b"), done(), END)
    ) as url:
        answer = Ollama(url, lambda: reported.append(None)).chat(QUESTION, deadline_in(LONG_SECONDS))
    assert (answer.text, len(reported)) == ("ab", 3)


NS = 10**9
TOLD = {
    "a whole answer": (
        {"total_duration": 9 * NS, "load_duration": 2 * NS, "prompt_eval_duration": NS, "eval_duration": 4 * NS, "eval_count": 8},
        (2.0, 2.0, 2.0, 4.0),
    ),
    "no numbers": ({}, (None, None, None, None)),
    "what is zero is left out": ({"total_duration": NS, "eval_duration": NS, "eval_count": 3}, (3.0, 0.0, 0.0, 1.0)),
    "more parts than the whole": ({"total_duration": NS, "load_duration": 2 * NS}, (None, 2.0, 0.0, 0.0)),
    "beyond all bounds": (
        {"total_duration": 10**400, "load_duration": -NS, "eval_duration": 1, "eval_count": 10**400},
        (MAX_TOKENS_PER_SECOND, 0.0, MAX_REPORTED_SECONDS, 1 / NS),
    ),
}


@pytest.mark.parametrize(("counters", "numbers"), TOLD.values(), ids=TOLD.keys())
def test_the_report_of_an_answered_call(counters: dict[str, int], numbers: tuple[float | None, ...]) -> None:
    """Its figures come from the server's durations, and any value fits into an event."""
    calls: list[ModelCall] = []
    with raw_server(answering(HEAD, content_line("gut"), done("stop", **counters), END)) as url:
        Ollama(url, lambda: None, calls.append).chat(QUESTION, deadline_in(LONG_SECONDS))
    (call,) = calls
    assert (call.outcome, call.first_token_seconds is not None) == (CallOutcome.ANSWERED, True)
    assert (call.tokens_per_second, call.load_seconds, call.wait_seconds, call.answer_seconds) == numbers
    event = Event(kind=EventKind.CALL, step=Step.VISION, call=call)
    assert Event.decode(event.encode()) == event


def test_the_report_of_a_silent_model() -> None:
    """Silence before the first token has no time to the first token. Silence after it has one."""
    calls: list[ModelCall] = []
    now = time.monotonic()
    late, stuck = Deadline(now + LONG_SECONDS, now + 0.2, 0.2), Deadline(now + LONG_SECONDS, now + LONG_SECONDS, 0.2)
    with raw_server(silent(HEAD), silent(HEAD, content_line("gut"))) as url:
        for deadline in (late, stuck):
            with pytest.raises(errors.ServerFailed):
                Ollama(url, lambda: None, calls.append).chat(QUESTION, deadline)
    assert [call.outcome for call in calls] == [CallOutcome.SILENT, CallOutcome.SILENT]
    assert [call.first_token_seconds is None for call in calls] == [True, False]


OTHER_ENDS = {
    "no reason": done("", eval_count=1, prompt_eval_count=9),
    "another reason": done("end_turn", eval_count=1),
    "a reason of null": line(message=None, done=True, done_reason=None, eval_count=None, prompt_eval_count=None),
    "nothing but done": line(done=True),
    "no counts": done("stop"),
    "only the tokens that were not in the cache": done("stop", eval_count=1, prompt_eval_count=1),
}


@pytest.mark.parametrize("end", OTHER_ENDS.values(), ids=OTHER_ENDS.keys())
def test_an_answer_is_judged_by_what_it_carries(end: bytes) -> None:
    """An answer whose last line lacks reason or counts is whole if it has text and tokens to spare, also to a long prompt."""
    request = replace(QUESTION, options={"num_ctx": 17_408}, messages=({"role": "user", "content": "wort " * 4000},))
    with raw_server(answering(HEAD, content_line("gut"), end, END)) as url:
        assert ollama(url).chat(request, deadline_in(LONG_SECONDS)).text == "gut"


def test_no_report_without_a_call(simulator: SimulatorProcess) -> None:
    """A prompt that is rejected before sending, and a list of models, are not reported."""
    calls: list[ModelCall] = []
    client = Ollama(simulator.url, lambda: None, calls.append)
    client.digest("chain")
    with pytest.raises(errors.PromptTooLong):
        client.chat(replace(LONG, options={"num_ctx": 4096}), deadline_in(LONG_SECONDS))
    assert calls == []


def test_the_request(simulator: SimulatorProcess) -> None:
    """The frozen options are sent unchanged. The server must not cut the prompt, and keep_alive is not set."""
    body = replace(QUESTION, options={"num_ctx": 4096}, document_schema={"type": "object"}).body()
    assert body["options"] == {"num_ctx": 4096, "temperature": 0, "seed": 1, "num_predict": 256}
    assert (body["truncate"], body["think"], body["stream"], body["format"]) == (False, False, True, {"type": "object"})
    assert "keep_alive" not in body
    assert "format" not in QUESTION.body()
    assert ollama(simulator.url).chat(QUESTION, deadline_in(LONG_SECONDS)).tokens > 0


LONG = replace(QUESTION, messages=({"role": "user", "content": "wort " * 5000},))


def test_a_prompt_that_cannot_fit_is_not_sent(simulator: SimulatorProcess) -> None:
    """With a configured window, a longer prompt is rejected before sending."""
    assert type(caught(simulator.url, request=replace(LONG, options={"num_ctx": 4096}))) is errors.PromptTooLong
    assert simulator.calls() == []


def test_a_prompt_that_the_server_rejects(simulator: SimulatorProcess) -> None:
    """A prompt that may fit is sent, and the server's rejection is the same error."""
    request = replace(LONG, messages=({"role": "user", "content": "Rechenaufgabe " * 1500},), options={"num_ctx": 2048})
    assert type(caught(simulator.url, request=request)) is errors.PromptTooLong
    assert len(simulator.calls()) == 1


def test_no_larger_window_than_the_model_has(simulator: SimulatorProcess) -> None:
    """The description is read once per client, and the window of each chat is at most the model's."""
    client = ollama(simulator.url)
    for _ in range(2):
        client.chat(replace(QUESTION, model="narrow", options={"num_ctx": 17_408}), deadline_in(LONG_SECONDS))
    assert [call["num_ctx"] for call in simulator.calls()] == [8192, 8192]
    longer = replace(QUESTION, model="narrow", options={"num_ctx": 17_408}, messages=({"role": "user", "content": "a " * 9000},))
    assert type(caught(simulator.url, request=longer)) is errors.PromptTooLong
    assert len(simulator.calls()) == 2


@pytest.mark.parametrize("reply", [status(500, b""), status(404, b""), status(200, b"no"), status(200, b'{"model_info":1}')])
def test_a_description_that_cannot_be_read(reply: bytes) -> None:
    """If work may leave the house, the window of the settings is asked for, which the server limits, and no description again."""

    def script(peer: Peer) -> None:
        assert peer.request(skips_descriptions=False).startswith(b"POST /api/show ")
        peer.send(reply)
        for _ in range(2):
            received = peer.request(skips_descriptions=False)
            assert json.loads(received.partition(b"\r\n\r\n")[2])["options"]["num_ctx"] == 8192
            peer.send(HEAD, content_line("gut"), done(), END)

    with raw_server(script) as url:
        client = ollama(url)
        for _ in range(2):
            assert client.chat(replace(QUESTION, options={"num_ctx": 8192}), deadline_in(LONG_SECONDS)).text == "gut"


@pytest.mark.parametrize(("counted", "is_cut"), [(520, True), (20, False), (5000, False), (0, False)])
def test_a_prompt_that_the_server_cut(counted: int, is_cut: bool) -> None:
    """A prompt that was cut to half of its window is rejected. A count of what was not in the cache is no cut."""
    request = replace(QUESTION, messages=({"role": "user", "content": "wort " * 900},), options={"num_ctx": 1040})
    with raw_server(answering(HEAD, content_line("gut"), done(prompt_eval_count=counted), END)) as url:
        if is_cut:
            assert type(caught(url, request=request)) is errors.PromptTooLong
        else:
            assert ollama(url).chat(request, deadline_in(LONG_SECONDS)).text == "gut"


def test_digest(simulator: SimulatorProcess) -> None:
    """An installed model is found by its full or short name. Another one has no digest."""
    client = ollama(simulator.url)
    assert len(client.digest("chain") or "") == 64
    assert client.digest("chain") == client.digest("chain:latest")
    assert client.digest("nobody") is None


def test_a_model_that_is_pulled_while_a_worker_lives() -> None:
    """From then on all workers have the same fingerprint, so none reads a text again that another has read."""
    model = WorkerSettings.model_fields["ai_vision_model"].default
    listed = status(200, json.dumps({"models": [{"name": model, "digest": "a1b2", "size": 1}]}).encode())
    with raw_server(answering(EMPTY_LIST), answering(listed), answering(listed)) as url:
        settings = parse(
            {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning", "OLLAMA_BASE_URL": url}
        ).worker
        earlier, later = (vision.build(settings, lambda: None) for _ in range(2))
        before, after = (earlier.fingerprint({"sha256": "x"}) for _ in range(2))
        assert before != after == later.fingerprint({"sha256": "x"})


def local_settings(url: str) -> WorkerSettings:
    database = "postgresql://worker@localhost/learning"
    return parse({"AI_BACKEND": "local", "LEARNING_DATABASE_URL": database, "OLLAMA_BASE_URL": url}).worker


@pytest.mark.parametrize(
    ("reply", "outcomes"),
    [(status(500, b""), [CallOutcome.FAILED]), (status(503, b""), [CallOutcome.BUSY]), (b"", [CallOutcome.FAILED])],
    ids=["error", "busy", "cut"],
)
def test_a_server_that_fails_before_the_first_page_is_reported(reply: bytes, outcomes: list[CallOutcome]) -> None:
    """The list of models is asked for outside of a call, and the monitor counts its failure as one of a call."""
    reported: list[ModelCall] = []
    with raw_server(answering(reply), answering(reply)) as url:
        settings = local_settings(url)
        with pytest.raises((errors.ServerFailed, Unavailable)):
            vision.build(settings, lambda: None, reported.append).fingerprint({"sha256": "x"})
    assert [call.outcome for call in reported] == outcomes


def test_a_missing_connection_before_the_first_page_is_no_failure_of_the_model() -> None:
    """The monitor's own list shows it, and closes both gates."""
    reported: list[ModelCall] = []
    with raw_server() as url:
        settings = local_settings(url)
    with pytest.raises(errors.ServerUnreachable):
        vision.build(settings, lambda: None, reported.append).fingerprint({"sha256": "x"})
    assert reported == []


def test_a_list_that_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a list is limited as a whole."""
    monkeypatch.setattr("worker.ollama.client.LOOKUP_SECONDS", 0.3)
    with raw_server(trickling(HEAD, chunk(b" "))) as url, pytest.raises(errors.LookupFailed):
        ollama(url).digest("chain")


ODD = {
    "a name with a line break": {"name": "a\n[/]", "size": 1},
    "no name": {"size": 1},
    "no size": {"name": "odd"},
    "a negative size": {"name": "odd", "size": -1},
    "no object": 1,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_entry_of_a_list(odd: object) -> None:
    """An invalid entry is skipped, and the other models of the list are found."""
    body = json.dumps({"models": [odd, {"name": "chain:latest", "digest": "a1b2", "size": 1}]}).encode()
    with raw_server(answering(status(200, body))) as url:
        assert ollama(url).digest("chain") == "a1b2"


def test_the_list_of_a_server_with_thousands_of_models() -> None:
    """A list of 3.5 MB is read whole."""
    models = [{"name": f"m{number}", "digest": "a1b2", "size": 1, "details": "x" * 650} for number in range(5000)]
    body = json.dumps({"models": models}).encode()
    with raw_server(answering(status(200, body))) as url:
        assert (len(body) > 3_500_000, ollama(url).digest("m4999")) == (True, "a1b2")


@pytest.mark.parametrize("body", [b"[]", b'{"models":[1]}', b"{}", b"x"])
def test_an_invalid_list(body: bytes) -> None:
    with raw_server(answering(status(200, body))) as url, pytest.raises(errors.LookupFailed):
        ollama(url).digest("chain")
