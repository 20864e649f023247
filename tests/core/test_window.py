"""The lower bound of a prompt's tokens, and its uses."""

import pytest

from worker.ollama.window import LEAST_ANSWER_TOKENS, is_too_small, least_tokens, may_matter, was_cut

BOUNDS: dict[str, tuple[str, int]] = {
    "words": ("Der Umfang ist 12 cm.", 5),
    "a word longer than any token": ("x" * 65, 3),
    "an apostrophe parts no word": ("don't", 1),
    "a vowel sign parts no word": ("हिन्दी भाषा", 2),
    "a dotted line is perhaps one token": ("." * 500, 0),
    "a line to write on too": ("_" * 500, 0),
    "white space is perhaps none": (" \n\t" * 500, 0),
    "nothing": ("", 0),
}


@pytest.mark.parametrize(("text", "tokens"), BOUNDS.values(), ids=BOUNDS.keys())
def test_least_tokens(text: str, tokens: int) -> None:
    """The letters between two white spaces are at least one token, and nothing else is certain."""
    assert least_tokens([text]) == tokens


def test_least_tokens_of_a_request() -> None:
    """Messages and pictures add up."""
    assert least_tokens(["ein Wort", "noch eins"], images=2) == 4 + 32


def test_a_window_that_is_sure_to_be_too_small() -> None:
    """The room for the answer counts. An unknown window is never too small."""
    assert not is_too_small(1000 + LEAST_ANSWER_TOKENS, 1000)
    assert is_too_small(999 + LEAST_ANSWER_TOKENS, 1000)
    assert not is_too_small(None, 10**9)


def test_a_short_prompt_needs_no_query_of_the_window() -> None:
    """A prompt that fits into Ollama's smallest window needs no query."""
    assert not may_matter(2048 - LEAST_ANSWER_TOKENS)
    assert may_matter(2049 - LEAST_ANSWER_TOKENS)


@pytest.mark.parametrize(("counted_tokens", "is_cut"), [(999, True), (1000, False), (5000, False), (0, False)])
def test_a_cut_prompt_is_detected(counted_tokens: int, is_cut: bool) -> None:
    """Cut if fewer tokens were read than the lower bound. A missing count decides nothing."""
    assert was_cut(1000, counted_tokens) is is_cut
