"""What the simulated model says. It knows no instruction: nothing in a prompt changes the kind of the answer."""

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
from testkit.ollama_simulator.ocr import UnreadableImageError, ocr_text
from testkit.ollama_simulator.options import Options
from testkit.ollama_simulator.request import Ask
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
    """How an answer stops."""

    DONE = "a last line with the reason and the counters"
    DONE_FALSE = "a last line with neither"
    CUT = "no last line; a whole answer has done false"
    SILENCE = "nothing more, until the client leaves"
    DEATH = "the runner dies"


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of an answer; of the texts one is not empty. `raw` is a line that is sent as it is."""

    content: str = ""
    thinking: str = ""
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """`pieces` is a tuple, or an iterator without end. `token_seconds` None stands for the simulator's own speed."""

    pieces: Iterable[Piece]
    done_reason: str = "stop"
    ending: Ending = Ending.DONE
    token_seconds: float | None = None

    @property
    def is_endless(self) -> bool:
        return not isinstance(self.pieces, tuple)


def compose(ask: Ask, model: Model, options: Options, dialect: Dialect) -> Answer:
    """The whole answer within its limit of tokens. Raises ApiError for an image or a schema that cannot be used."""
    if ask.images and not model.is_vision:
        raise engine_error(*dialect.image_refusal)
    pieces = _pieces(ask, model, options, dialect)
    if not dialect.is_native(model):
        short = _until_repetition(pieces)
        if len(short) < len(pieces):
            return Answer(short, ending=Ending.CUT)
    return Answer(pieces, "length" if len(pieces) == options.limit_tokens else "stop")


def _pieces(ask: Ask, model: Model, options: Options, dialect: Dialect) -> tuple[Piece, ...]:
    """An answer that has room for all its tokens but not for its end is cut too, as the end is a token."""
    if model.round:
        return tuple(islice(cycle(map(Piece, model.round)), options.limit_tokens))
    thought = tokens(THOUGHT) if model.is_thinking and ask.think is not False else []
    spoken = tokens(_until_stop(_text(ask, model, dialect), options.stop))
    pieces = (*(Piece(thinking=text) for text in thought), *(Piece(content=text) for text in spoken))
    return pieces[: options.limit_tokens]


def _until_repetition(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Ollama gives up at the 31st equal token in a row, white space apart (recording 18)."""
    last, count = "", 0
    for number, piece in enumerate(pieces):
        said = (piece.content or piece.thinking).strip()
        count = count + 1 if said == last else 1
        last = said
        if count > MAX_EQUAL_TOKENS:
            return pieces[: number + 1]
    return pieces


def check_format(ask: Ask) -> None:
    """Anything but "json" and an object is refused by Ollama itself, before the engine sees it."""
    if ask.format is not None and ask.format != "json" and not isinstance(ask.format, dict):
        raw = compact(compact(ask.format))
        raise ApiError(500, f'invalid format: {raw}; expected "json" or a valid JSON Schema object')


def _text(ask: Ask, model: Model, dialect: Dialect) -> str:
    read = "\n\n".join(_read(image) for image in ask.images)
    seed = hashlib.sha256(ask.prompt.encode("utf-8", errors="replace")).hexdigest()
    sentences = (read,) if read else FEEDBACK
    if ask.format is None:
        return sentences[int(seed, 16) % len(sentences)]
    schema = ask.format if isinstance(ask.format, dict) else {"properties": {"antwort": {}}, "required": ["antwort"]}
    try:
        value = document(schema, Subject(seed, sentences, criteria_in(ask.prompt)))
    except SchemaError as error:
        raise dialect.schema_refusal(str(error)) from error
    return compact(value, sorts_keys=dialect.is_native(model))


def _read(image: bytes) -> str:
    try:
        return ocr_text(image)
    except UnreadableImageError as error:
        raise engine_error(400, "Failed to load image or audio file", "invalid_request_error") from error


def _until_stop(text: str, stop: tuple[str, ...]) -> str:
    for word in filter(None, stop):
        text = text.partition(word)[0]
    return text
