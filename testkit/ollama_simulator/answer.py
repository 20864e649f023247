"""The text of an answer. Instructions in a prompt have no effect on it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import cycle, islice

from testkit.ollama_simulator.api_error import ApiError, engine_error
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.criteria import criteria_in
from testkit.ollama_simulator.dialect import Dialect
from testkit.ollama_simulator.json_text import compact
from testkit.ollama_simulator.ocr import UnreadableImageError, in_manner, ocr_text
from testkit.ollama_simulator.options import Options
from testkit.ollama_simulator.request import ParsedRequest
from testkit.ollama_simulator.schema import SchemaError, Subject, document
from testkit.ollama_simulator.token import tokens

FEEDBACK = (
    "Du hast die Aufgabe vollständig bearbeitet und deinen Weg gut erklärt.",
    "Der Ansatz stimmt; achte beim nächsten Mal noch auf die Einheiten.",
    "Deine Begründung ist nachvollziehbar, ein Beispiel würde sie noch stärker machen.",
    "Die wichtigsten Punkte sind genannt, der Schluss darf ausführlicher sein.",
    "Du gehst Schritt für Schritt vor, und das Ergebnis ist richtig.",
)
MAX_EQUAL_TOKENS = 30
THOUGHT = "Ich vergleiche die Lösung Punkt für Punkt mit der Aufgabe."


class Ending(Enum):
    """The end of an answer."""

    DONE = "a last line with the reason and the counters"
    DONE_FALSE = "a last line without reason and counters"
    CUT = "no last line, or done false where the answer is not streamed"
    SILENCE = "no further data until the client disconnects"
    DEATH = "the runner dies"


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of an answer: content, thinking, or a raw line that is sent unchanged."""

    content: str = ""
    thinking: str = ""
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """`pieces` is a tuple, or an endless iterator. With `token_seconds` None the simulator's own speed applies."""

    pieces: Iterable[Piece]
    done_reason: str = "stop"
    ending: Ending = Ending.DONE
    token_seconds: float | None = None

    @property
    def is_endless(self) -> bool:
        return not isinstance(self.pieces, tuple)


def compose(request: ParsedRequest, model: Model, options: Options, dialect: Dialect) -> Answer:
    """Compose the answer within its token limit. Raises ApiError for an unusable image or schema."""
    if request.images and not model.is_vision:
        raise engine_error(*dialect.image_refusal)
    pieces = _pieces(request, model, options, dialect)
    if not dialect.is_native(model):
        short = _until_repetition(pieces)
        if len(short) < len(pieces):
            return Answer(short, ending=Ending.CUT)
    return Answer(pieces, "length" if len(pieces) == options.limit_tokens else "stop")


def _pieces(request: ParsedRequest, model: Model, options: Options, dialect: Dialect) -> tuple[Piece, ...]:
    """The end of an answer counts as a token, so an answer without room for it is cut too."""
    if model.round:
        return tuple(islice(cycle(map(Piece, model.round)), options.limit_tokens))
    thought = tokens(THOUGHT) if model.is_thinking and request.think is not False else []
    spoken = tokens(_until_stop(_text(request, model, dialect), options.stop))
    pieces = (*(Piece(thinking=text) for text in thought), *(Piece(content=text) for text in spoken))
    return pieces[: options.limit_tokens]


def _until_repetition(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Cut at the 31st equal token in a row, as Ollama does. White space is ignored (recording 18)."""
    last, count = "", 0
    for number, piece in enumerate(pieces):
        text = (piece.content or piece.thinking).strip()
        count = count + 1 if text == last else 1
        last = text
        if count > MAX_EQUAL_TOKENS:
            return pieces[: number + 1]
    return pieces


def check_format(request: ParsedRequest) -> None:
    """Reject any format but "json" and an object, as Ollama does before it calls the engine."""
    if request.format is not None and request.format != "json" and not isinstance(request.format, dict):
        raw = compact(compact(request.format))
        raise ApiError(500, f'invalid format: {raw}; expected "json" or a valid JSON Schema object')


def _text(request: ParsedRequest, model: Model, dialect: Dialect) -> str:
    read = "\n\n".join(_text_in(image) for image in request.images)
    seed = hashlib.sha256(request.prompt.encode("utf-8", errors="replace")).hexdigest()
    if request.images and model.manner:
        return in_manner(model.manner, request.prompt, read)
    sentences = (read,) if read else FEEDBACK
    if request.format is None:
        return sentences[int(seed, 16) % len(sentences)]
    schema = request.format if isinstance(request.format, dict) else {"properties": {"antwort": {}}, "required": ["antwort"]}
    try:
        value = document(schema, Subject(seed, sentences, criteria_in(request.prompt)))
    except SchemaError as error:
        raise dialect.schema_refusal(str(error)) from error
    return compact(value, sorts_keys=dialect.is_native(model))


def _text_in(image: bytes) -> str:
    try:
        return ocr_text(image)
    except UnreadableImageError as error:
        raise engine_error(400, "Failed to load image or audio file", "invalid_request_error") from error


def _until_stop(text: str, stop: tuple[str, ...]) -> str:
    for word in filter(None, stop):
        text = text.partition(word)[0]
    return text
