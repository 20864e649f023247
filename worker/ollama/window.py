"""Whether a prompt fits into a model's context window, judged by a bound that is never too high."""

import re
from collections.abc import Iterable

# No tokenizer of a chat model joins letters across white space into one token, and none knows more than 32 letters as one. Signs
# count for nothing and part nothing: gpt-oss takes "don't", or a Hindi word with its vowel signs, as one token. German prose has
# about half as many words as tokens, so that a prompt cut to half of its window is below the bound of the whole.
_SIGNS = re.compile(r"(?:[^\w\s]|_)+")
LONGEST_WORD_TOKEN_CHARACTERS = 32
LEAST_IMAGE_TOKENS = 16  # of the smallest projector that was recorded; common models take hundreds
LEAST_ANSWER_TOKENS = 128  # what must remain: a short document
SMALLEST_WINDOW_TOKENS = 2048  # what Ollama gives a model at least, by itself (ollama.md 4.8)


def least_tokens(texts: Iterable[str], images: int = 0) -> int:
    """So many tokens a prompt has at least."""
    words = (word for text in texts for word in _SIGNS.sub("", text).split())
    return sum(-(-len(word) // LONGEST_WORD_TOKEN_CHARACTERS) for word in words) + images * LEAST_IMAGE_TOKENS


def may_matter(prompt_tokens: int) -> bool:
    """Whether an unknown window could be too small: if not, nobody has to be asked for it."""
    return prompt_tokens + LEAST_ANSWER_TOKENS > SMALLEST_WINDOW_TOKENS


def is_too_small(window_tokens: int | None, prompt_tokens: int) -> bool:
    """Sure not to fit. An unknown window is never too small: the server decides."""
    return window_tokens is not None and prompt_tokens + LEAST_ANSWER_TOKENS > window_tokens


def was_cut(prompt_tokens: int, counted_tokens: int) -> bool:
    """The server says that it read fewer tokens than there were: it cut the prompt silently. 0 is not said (ollama.md 2.4)."""
    return 0 < counted_tokens < prompt_tokens
