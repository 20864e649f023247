"""A conversation from the parts of a job."""

from typing import Any

import pytest

from worker.core.conversation import MOST_CHARACTERS, SHORT_CHARACTERS, Speaker, Turn, conversation_of

PERFORMANCE = {
    "messages": [
        {"text": "Ich denke, dass es sieben sind.", "starter_text": "Ich denke, dass", "starter_source": "teacher"},
        {"text": "Weil 3 + 4 = 7.", "starter_text": None, "starter_source": None},
    ],
    "closing_answer_md": "Es sind sieben.",
}
CONTEXT = {"opening_message_md": "Was ist 3 + 4?", "assistant_messages": ["Warum?", "Richtig."]}


def test_the_turns_are_in_their_order() -> None:
    """Each round is a pupil's message with its starter, and the reply."""
    assert conversation_of(PERFORMANCE, CONTEXT) == (
        Turn(Speaker.ASSISTANT, "Was ist 3 + 4?"),
        Turn(Speaker.STARTER, "Ich denke, dass"),
        Turn(Speaker.PUPIL, "Ich denke, dass es sieben sind."),
        Turn(Speaker.ASSISTANT, "Warum?"),
        Turn(Speaker.PUPIL, "Weil 3 + 4 = 7."),
        Turn(Speaker.ASSISTANT, "Richtig."),
        Turn(Speaker.CLOSING, "Es sind sieben."),
    )


@pytest.mark.parametrize("odd", [None, [], "x", {}, {"messages": "x"}, {"messages": [None, 5, {"text": 5}]}])
def test_parts_of_another_shape_are_left_out(odd: Any) -> None:
    """A later platform may send other shapes, which fail no job."""
    assert conversation_of(odd, {"assistant_messages": odd}) == ()
    assert conversation_of(PERFORMANCE, odd)[-1] == Turn(Speaker.CLOSING, "Es sind sieben.")


def test_a_missing_reply_moves_no_message() -> None:
    found = conversation_of(PERFORMANCE, {"assistant_messages": ["Warum?"]})
    assert [turn.text_md for turn in found if turn.speaker is Speaker.PUPIL] == [
        message["text"] for message in PERFORMANCE["messages"] if isinstance(message, dict)
    ]


def test_only_the_assistant_is_shortened() -> None:
    """In a long conversation the assistant's turns keep their beginning and end, and the pupil's words stay whole."""
    rounds = 12
    long_reply = "Anfang" + "x" * 1988 + "Ende?"
    performance = {"messages": [{"text": "y" * 2000, "starter_text": None}] * rounds, "closing_answer_md": "z" * 2000}
    found = conversation_of(performance, {"assistant_messages": [long_reply] * rounds})
    assert {len(turn.text_md) for turn in found if turn.speaker.is_pupil} == {2000}
    replies = [turn.text_md for turn in found if turn.speaker is Speaker.ASSISTANT]
    assert len(replies) == rounds
    assert all(reply.startswith("Anfang") and reply.endswith("Ende?") for reply in replies)
    assert max(map(len, replies)) <= SHORT_CHARACTERS + len(" … ")
    assert sum(len(turn.text_md) for turn in found) <= MOST_CHARACTERS + rounds * SHORT_CHARACTERS
