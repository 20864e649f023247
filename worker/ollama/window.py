"""The size of a prompt against a model's context window, by a lower bound of its tokens."""

import re
from collections.abc import Iterable, Mapping

# No tokenizer of a chat model joins letters across white space into one token, and none knows more than 32 letters as one. Signs
# do not count and do not separate: gpt-oss takes "don't", or a Hindi word with its vowel signs, as one token. German prose has
# about half as many words as tokens, so that a prompt cut to half of its window is below the bound of the whole prompt.
_SIGNS = re.compile(r"(?:[^\w\s]|_)+")
LONGEST_WORD_TOKEN_CHARACTERS = 32
LEAST_IMAGE_TOKENS = 16  # of the smallest projector that was recorded; common models take hundreds
LEAST_ANSWER_TOKENS = 128  # room for the answer: a short document


def least_tokens(texts: Iterable[str], images: int = 0) -> int:
    """Lower bound of a prompt's tokens."""
    words = (word for text in texts for word in _SIGNS.sub("", text).split())
    return sum(-(-len(word) // LONGEST_WORD_TOKEN_CHARACTERS) for word in words) + images * LEAST_IMAGE_TOKENS


def is_too_small(window_tokens: int | None, prompt_tokens: int) -> bool:
    """True if the prompt certainly does not fit. With an unknown window the server decides."""
    return window_tokens is not None and prompt_tokens + LEAST_ANSWER_TOKENS > window_tokens


def within(options: Mapping[str, int], model_tokens: int) -> dict[str, int]:
    """Options whose window is at most that of the model. 0: the model's is not known, and the server limits it."""
    if not model_tokens or "num_ctx" not in options:
        return dict(options)
    return {**options, "num_ctx": min(options["num_ctx"], model_tokens)}


def was_cut(window_tokens: int | None, prompt_tokens: int, counted_tokens: int) -> bool:
    """True if the server has cut the prompt silently, to its window or to half of it (docs/ollama-api.md 6.4).

    A count below half of the window is no sign of a cut: some servers do not count what they have in their cache, and some
    count nothing.
    """
    if window_tokens is None:
        return False
    return window_tokens // 2 <= counted_tokens < prompt_tokens
