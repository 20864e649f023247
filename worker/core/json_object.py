"""Finds the JSON objects in a model's answer, whatever prose, code fences and thoughts are around them."""

import json
import re
from collections.abc import Iterator

# The end of thoughts, or of another channel, in the formats of the usual families. What is before it is not the answer.
_END_OF_THOUGHT = r"</think(?:ing)?>|\[/THINK\]|◁/think▷|<\|(?:end_of_thought|/think)\|>|<\|channel\|>\s*final\b|<channel\|>"
_START = re.compile(rf"(?P<thought>{_END_OF_THOUGHT})|\{{", re.IGNORECASE)
MAX_STARTS = 1000  # braces to try: a failed one costs a look at the whole answer, and prose has few
_DECODER = json.JSONDecoder(strict=False)  # a server without a grammar lets line ends into strings


def objects_in(text: str) -> list[dict[str, object]]:
    """Return the outermost objects of the answer, in order. Raises RecursionError for a nesting without end."""
    found: list[dict[str, object]] = []
    for value in _objects_and_marks(text):
        if value is None:
            found.clear()
        else:
            found.append(value)
    return found


def _objects_and_marks(text: str) -> Iterator[dict[str, object] | None]:
    """Yield each object, and None for each end of thoughts. An object's own strings are not searched for either."""
    place = starts = 0
    while (start := _START.search(text, place)) and starts < MAX_STARTS:
        place, starts = start.end(), starts + 1
        if start["thought"]:
            yield None
            continue
        try:
            value, place = _DECODER.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            if _is_cut(text, error):
                return  # all that follows is inside this object
        except ValueError:  # a number of thousands of digits
            return
        else:
            yield value


def _is_cut(text: str, error: json.JSONDecodeError) -> bool:
    return error.msg.startswith("Unterminated string") or not text[error.pos :].strip()
