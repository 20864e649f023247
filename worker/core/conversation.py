"""A pupil's conversation with an assistant, from `student_performance` and `conversation_context` of the platform's jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import zip_longest

MOST_CHARACTERS = 28_000  # of a conversation in a prompt: four thousand words, as a text has at most
SHORT_CHARACTERS = 300  # of an assistant's turn in a longer conversation


class Speaker(Enum):
    """Origin of a turn. Only the pupil's own turns are assessed."""

    ASSISTANT = auto()
    STARTER = auto()  # a beginning of a sentence that was offered, and that the next turn of the pupil has adopted
    PUPIL = auto()
    CLOSING = auto()  # the pupil's answer after the conversation

    @property
    def is_pupil(self) -> bool:
        return self in {Speaker.PUPIL, Speaker.CLOSING}


@dataclass(frozen=True, slots=True)
class Turn:
    """One contribution to the conversation. The text is never blank."""

    speaker: Speaker
    text_md: str


Conversation = tuple[Turn, ...]


def conversation_of(student_performance: object, conversation_context: object) -> Conversation:
    """Return the turns in their order. A part of another shape is left out, because a later platform may have others."""
    performance, context = _mapping(student_performance), _mapping(conversation_context)
    said = [_turn(Speaker.ASSISTANT, context.get("opening_message_md"))]
    rounds = zip_longest(_sequence(performance.get("messages")), _sequence(context.get("assistant_messages")))
    for message, reply in rounds:
        said += [*_of_pupil(_mapping(message)), _turn(Speaker.ASSISTANT, reply)]
    said.append(_turn(Speaker.CLOSING, performance.get("closing_answer_md")))
    return _shortened(tuple(turn for turn in said if turn is not None))


def _of_pupil(message: Mapping[str, object]) -> tuple[Turn | None, ...]:
    return _turn(Speaker.STARTER, message.get("starter_text")), _turn(Speaker.PUPIL, message.get("text"))


def _turn(speaker: Speaker, text: object) -> Turn | None:
    return Turn(speaker, text) if isinstance(text, str) and text.strip() else None


def _shortened(turns: Conversation) -> Conversation:
    """Shorten the assistant's turns of a long conversation, which are context alone. The pupil's words stay whole."""
    if sum(len(turn.text_md) for turn in turns) <= MOST_CHARACTERS:
        return turns
    return tuple(turn if turn.speaker.is_pupil else Turn(turn.speaker, _ends_of(turn.text_md)) for turn in turns)


def _ends_of(text: str) -> str:
    """Keep the beginning, and the end with its question."""
    half = SHORT_CHARACTERS // 2
    return text if len(text) <= SHORT_CHARACTERS else f"{text[:half]} … {text[-half:]}"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
