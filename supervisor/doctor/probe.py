"""A few small requests to one model, like those of the workers: a word, a page, a JSON schema, a submission."""

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict

from supervisor.doctor import known_page
from supervisor.doctor.known_page import KnownPage, Reading
from supervisor.doctor.sample import SUBMISSION
from supervisor.settings.model import Settings
from worker.adapters import prompts
from worker.core.criteria import document_schema
from worker.core.json_object import objects_in
from worker.ipc.contract import Step
from worker.ollama.api import CHAT, GENERATE, Body, ModelReply, load_request
from worker.ollama.client import ChatRequest, Ollama
from worker.ollama.errors import ERROR_STATUSES, REQUEST_FAILURES
from worker.ollama.thinking import Thinking, thinking
from worker.ollama.vision_family import FAMILIES, family_of
from worker.settings import WorkerSettings

PROBE_SECONDS = 300.0  # upper bound of AI_TIMEOUT_VISION and AI_TIMEOUT_FEEDBACK
SAMPLE_TOKENS = 64  # enough for a speed
PAGE_TOKENS = 256  # twice the tokens of the known page
OUR_PROMPT = "sentences"  # AI_VISION_PROMPT for our own sentences
NANOSECOND = 1e-9


class _Small(BaseModel):
    """A small document that the model has to write by its schema."""

    model_config = ConfigDict(extra="forbid", strict=True)

    correct: bool
    result: int


class ProbeKind(Enum):
    """Kind of a request, in the order of sending."""

    LOAD = "load"
    WORD = "word"
    PICTURE = "picture"
    SCHEMA = "schema"
    FEEDBACK = "feedback"


class Outcome(Enum):
    """SILENT: no answer. DISOBEYED: an answer of another form. The others are about the known page.

    READ_NOTHING: no text. READ_OTHER: another text. ADDED: its words among others. OTHER_PROMPT: `detail` is the value of
    AI_VISION_PROMPT with which the model reads it.
    """

    GOOD = "good"
    ERROR_STATUS = "error status"
    SILENT = "silent"
    DISOBEYED = "disobeyed"
    READ_NOTHING = "read nothing"
    READ_OTHER = "read other words"
    ADDED = "added words"
    OTHER_PROMPT = "other prompt"


@dataclass(frozen=True, slots=True)
class Probe:
    """One request. `detail` is a status or the class of an error. Seconds are the server's own, without waiting for a slot."""

    kind: ProbeKind
    outcome: Outcome
    detail: str = ""
    load_seconds: float = 0.0
    prompt_tokens: int = 0
    prompt_seconds: float = 0.0
    tokens: int = 0
    tokens_seconds: float = 0.0


def probes(server: Ollama, model: str, step: Step, settings: Settings, options: Mapping[str, int]) -> Iterator[Probe]:
    """Stop at the first failure, because the next probes would fail for the same reason, each after minutes.

    `options` are those of the workers' requests, so that no probe loads the model again.
    """
    for kind in (ProbeKind.LOAD, ProbeKind.WORD, *_OF_STEP[step]):
        if kind is ProbeKind.LOAD:
            probe = _load(server, load_request(model, options), settings.supervisor.ollama_load_timeout_seconds)
        elif kind is ProbeKind.PICTURE:
            probe = _page(server, model, settings.worker, options)
        else:
            probe = _tried(server, kind, _body(kind, model, step, settings.worker, options))
        yield probe
        if probe.outcome is not Outcome.GOOD:
            return


_OF_STEP = {Step.VISION: (ProbeKind.PICTURE,), Step.FEEDBACK: (ProbeKind.SCHEMA, ProbeKind.FEEDBACK)}


def _load(server: Ollama, request: Body, timeout_seconds: float) -> Probe:
    try:
        server.request(GENERATE, request, timeout_seconds)
    except REQUEST_FAILURES as error:
        return _failed(ProbeKind.LOAD, error)
    return Probe(ProbeKind.LOAD, Outcome.GOOD)


def _tried(server: Ollama, kind: ProbeKind, body: Body) -> Probe:
    try:
        reply = server.request(CHAT, body, PROBE_SECONDS)
    except REQUEST_FAILURES as error:
        return _failed(kind, error)
    return _answered(kind, reply)


def _answered(kind: ProbeKind, reply: ModelReply) -> Probe:
    outcome = Outcome.GOOD if _is_good(kind, reply) else Outcome.DISOBEYED
    return Probe(
        kind,
        outcome,
        reply.done_reason,
        reply.load_duration * NANOSECOND,
        reply.prompt_eval_count,
        reply.prompt_eval_duration * NANOSECOND,
        reply.eval_count,
        reply.eval_duration * NANOSECOND,
    )


def _page(server: Ollama, model: str, settings: WorkerSettings, options: Mapping[str, int]) -> Probe:
    """Show a page of known words with the workers' prompt. If it is not read, find a prompt with which it is."""
    first, reading = _shown(server, model, settings, options)
    if reading in {None, Reading.WHOLE}:
        return first
    used = family_of(model, settings.ai_vision_prompt)
    for word in (word for word in (OUR_PROMPT, *FAMILIES) if family_of(model, word) != used):
        other = settings.model_copy(update={"ai_vision_prompt": word})
        if _shown(server, model, other, options)[1] is Reading.WHOLE:
            return replace(first, outcome=Outcome.OTHER_PROMPT, detail=word)
    return first


_NOT_READ = {Reading.NOTHING: Outcome.READ_NOTHING, Reading.OTHER: Outcome.READ_OTHER, Reading.ADDED: Outcome.ADDED}


def _shown(server: Ollama, model: str, settings: WorkerSettings, options: Mapping[str, int]) -> tuple[Probe, Reading | None]:
    """The probe, and how the page was read; None without an answer."""
    page = known_page.draw()
    try:
        reply = server.request(CHAT, _page_body(page, model, settings, options), PROBE_SECONDS)
    except REQUEST_FAILURES as error:
        return _failed(ProbeKind.PICTURE, error), None
    probe = _answered(ProbeKind.PICTURE, reply)
    if probe.outcome is not Outcome.GOOD:
        return probe, None
    reading = known_page.compare(page.words, reply.message.content)
    return replace(probe, outcome=_NOT_READ.get(reading, Outcome.GOOD)), reading


def _page_body(page: KnownPage, model: str, settings: WorkerSettings, options: Mapping[str, int]) -> Body:
    """The request of a worker."""
    family = family_of(model, settings.ai_vision_prompt)
    prompt = family.prompt or prompts.of(settings.ai_prompt_language).page_text
    message = {"role": "user", "content": prompt, "images": [base64.b64encode(page.picture).decode()]}
    request = ChatRequest(model, (message,), options, PAGE_TOKENS, repetition_limit_characters=0, stop=family.stop)
    return {**request.body(), "stream": False}


def _failed(kind: ProbeKind, error: Exception) -> Probe:
    return Probe(kind, Outcome.ERROR_STATUS if isinstance(error, ERROR_STATUSES) else Outcome.SILENT, str(error))


def _is_good(kind: ProbeKind, reply: ModelReply) -> bool:
    """A sample may be truncated, because only its beginning and its speed are of interest."""
    if kind is not ProbeKind.SCHEMA:
        return reply.done and reply.done_reason not in {"load", "unload"}
    try:
        [found] = objects_in(reply.message.content)
        _Small.model_validate(found)
    except (ValueError, RecursionError):  # also pydantic's ValidationError
        return False
    return True


def _body(kind: ProbeKind, model: str, step: Step, settings: WorkerSettings, options: Mapping[str, int]) -> Body:
    """`think` and the options are the workers'. A thinking model gets further tokens for the schema, else it writes no text."""
    thought = thinking(model, settings.ai_think_level) if step is Step.FEEDBACK else Thinking(think=False, tokens=0)
    request = ChatRequest(
        model=model,
        messages=_messages(kind, settings),
        options=options,
        max_tokens=SAMPLE_TOKENS + (thought.tokens if kind is ProbeKind.SCHEMA else 0),
        repetition_limit_characters=0,
        document_schema=_schema(kind),
        think=thought.think,
    )
    return {**request.body(), "stream": False}


def _schema(kind: ProbeKind) -> Mapping[str, Any] | None:
    if kind is ProbeKind.SCHEMA:
        return _Small.model_json_schema()
    return document_schema(len(SUBMISSION["de"]["criteria"])) if kind is ProbeKind.FEEDBACK else None


def _messages(kind: ProbeKind, settings: WorkerSettings) -> tuple[Mapping[str, Any], ...]:
    """Different in each run, because the server caches prompts and would seem faster than it is."""
    mark = os.urandom(8)
    texts, sample = prompts.of(settings.ai_prompt_language), prompts.Assignment(**SUBMISSION[settings.ai_prompt_language])
    match kind:
        case ProbeKind.FEEDBACK:
            system = {"role": "system", "content": f"{mark.hex()} {texts.system_text(sample)}"}
            return system, {"role": "user", "content": texts.user_text(sample, is_strict=False)}
        case ProbeKind.SCHEMA:
            return ({"role": "user", "content": f"{mark.hex()}: 3 + 4 = 7. Antworte als JSON mit correct und result."},)
    return ({"role": "user", "content": f"{mark.hex()}: Guten Morgen!"},)
