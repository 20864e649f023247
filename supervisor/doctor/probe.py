"""A few small requests to one model, as the workers send them: does it speak, see, keep to a schema, and how fast."""

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from supervisor.doctor import picture
from supervisor.doctor.model import Role
from supervisor.doctor.sample import SUBMISSION
from supervisor.doctor.server import Server, ServerRefused, ServerReply, ServerSilent
from supervisor.settings.model import Settings
from worker.adapters import prompts
from worker.core.criteria import document_schema
from worker.ollama.client import ChatRequest
from worker.ollama.thinking import Thinking, thinking
from worker.settings import WorkerSettings

PROBE_SECONDS = 300.0  # the longest timeout that AI_TIMEOUT_VISION and AI_TIMEOUT_FEEDBACK may have
SAMPLE_TOKENS = 64  # enough for a speed
NANOSECOND = 1e-9


class _Small(BaseModel):
    """What a model must be able to answer by a schema."""

    model_config = ConfigDict(extra="forbid", strict=True)

    correct: bool
    result: int


class ProbeKind(Enum):
    """What is tried, in the words of the view."""

    LOAD = "loads"
    WORD = "speaks"
    PICTURE = "looks at a page"
    SCHEMA = "keeps to a JSON schema"
    FEEDBACK = "reads a submission"


class Outcome(Enum):
    GOOD = "good"
    REFUSED = "refused"
    SILENT = "silent"
    DISOBEYED = "disobeyed"


@dataclass(frozen=True, slots=True)
class Probe:
    """One request. `detail` is a status or the class of an error. Seconds are the server's own, without its wait for a slot."""

    kind: ProbeKind
    outcome: Outcome
    detail: str = ""
    load_seconds: float = 0.0
    prompt_tokens: int = 0
    prompt_seconds: float = 0.0
    tokens: int = 0
    tokens_seconds: float = 0.0


def probes(server: Server, model: str, role: Role, settings: Settings) -> Iterator[Probe]:
    """Ends with the first that fails: the next ones would fail for the same reason, each after minutes."""
    for kind in (ProbeKind.LOAD, ProbeKind.WORD, *_OF_ROLE[role]):
        is_load = kind is ProbeKind.LOAD
        probe = _load(server, model, role, settings) if is_load else _tried(server, kind, model, role, settings.worker)
        yield probe
        if probe.outcome is not Outcome.GOOD:
            return


_OF_ROLE = {Role.VISION: (ProbeKind.PICTURE,), Role.FEEDBACK: (ProbeKind.SCHEMA, ProbeKind.FEEDBACK)}


def _load(server: Server, model: str, role: Role, settings: Settings) -> Probe:
    try:
        server.load(model, settings.worker.model_options(role.value), settings.supervisor.ollama_load_timeout_seconds)
    except (ServerRefused, ServerSilent) as failure:
        return _failed(ProbeKind.LOAD, failure)
    return Probe(ProbeKind.LOAD, Outcome.GOOD)


def _tried(server: Server, kind: ProbeKind, model: str, role: Role, settings: WorkerSettings) -> Probe:
    try:
        reply = server.answer(_body(kind, model, role, settings), PROBE_SECONDS)
    except (ServerRefused, ServerSilent) as failure:
        return _failed(kind, failure)
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


def _failed(kind: ProbeKind, failure: ServerRefused | ServerSilent) -> Probe:
    return Probe(kind, Outcome.REFUSED if isinstance(failure, ServerRefused) else Outcome.SILENT, str(failure))


def _is_good(kind: ProbeKind, reply: ServerReply) -> bool:
    """A sample may be cut: its end is not what is looked for."""
    if kind is not ProbeKind.SCHEMA:
        return reply.done and reply.done_reason in {"stop", "length"}
    try:
        _Small.model_validate_json(reply.message.content)
    except ValidationError:
        return False
    return True


def _body(kind: ProbeKind, model: str, role: Role, settings: WorkerSettings) -> dict[str, Any]:
    """`think` and the model's options are the workers'. Thoughts have room beside the sample, or nothing would be said."""
    thought = thinking(model, settings.ai_think_level) if role is Role.FEEDBACK else Thinking(think=False, tokens=0)
    return ChatRequest(
        model=model,
        messages=_messages(kind, settings),
        options=settings.model_options(role.value),
        max_tokens=SAMPLE_TOKENS + (thought.tokens if kind is ProbeKind.SCHEMA else 0),
        repetition_limit_characters=0,
        document_schema=_schema(kind),
        think=thought.think,
    ).body()


def _schema(kind: ProbeKind) -> Mapping[str, Any] | None:
    if kind is ProbeKind.SCHEMA:
        return _Small.model_json_schema()
    return document_schema(len(SUBMISSION["de"]["criteria"])) if kind is ProbeKind.FEEDBACK else None


def _messages(kind: ProbeKind, settings: WorkerSettings) -> tuple[Mapping[str, Any], ...]:
    """Each run's own: the server keeps what it has read, and would seem faster than it is."""
    mark = os.urandom(8)
    texts, sample = prompts.of(settings.ai_prompt_language), prompts.Assignment(**SUBMISSION[settings.ai_prompt_language])
    match kind:
        case ProbeKind.PICTURE:
            image = base64.b64encode(picture.page(mark)).decode()
            return ({"role": "user", "content": texts.page_text, "images": [image]},)
        case ProbeKind.FEEDBACK:
            system = {"role": "system", "content": f"{mark.hex()} {texts.system_text(has_criteria=True)}"}
            return system, {"role": "user", "content": texts.user_text(sample, is_strict=False)}
        case ProbeKind.SCHEMA:
            return ({"role": "user", "content": f"{mark.hex()}: 3 + 4 = 7. Antworte als JSON mit correct und result."},)
    return ({"role": "user", "content": f"{mark.hex()}: Guten Morgen!"},)
