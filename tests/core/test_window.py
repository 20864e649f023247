"""The lower bound of a prompt's tokens, and its uses."""

import pytest

from worker.core.page_size import MAX_SIDE_PIXELS
from worker.ollama.token_budget import feedback_window, page_tokens, page_window, reading_window
from worker.ollama.window import LEAST_ANSWER_TOKENS, is_too_small, least_tokens, was_cut, within

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


CUTS = {
    "to half of the window": (4096, 6000, 2050, True),
    "to the window": (4096, 6000, 4096, True),
    "not at all": (4096, 3000, 4000, False),
    "without the cached part": (4096, 6000, 20, False),
    "a short text without the cached part": (4096, 1000, 999, False),
    "no count": (4096, 6000, 0, False),
    "an unknown window": (None, 6000, 2050, False),
}


@pytest.mark.parametrize(("window", "least", "counted", "is_cut"), CUTS.values(), ids=CUTS.keys())
def test_a_cut_prompt_is_detected(window: int | None, least: int, counted: int, *, is_cut: bool) -> None:
    """Cut if fewer tokens were read than there are words, and as many as a cut leaves. Other counts decide nothing."""
    assert was_cut(window, least, counted) is is_cut


def test_a_window_is_within_the_model() -> None:
    """No larger window is asked for than the model has. Without a description the server limits it."""
    options = {"num_ctx": 8192, "num_thread": 2}
    assert within(options, 4096) == {"num_ctx": 4096, "num_thread": 2}
    assert within(options, 32_768) == within(options, 0) == options
    assert within({}, 4096) == {}


def test_the_window_holds_a_page_and_an_essay() -> None:
    """A square page of 28 pixels a token with a mark per row, its task and two assessments, and an essay of 4000 words."""
    squares = -(-MAX_SIDE_PIXELS // 28)
    assert page_tokens("qwen2.5vl:3b") == squares * squares + squares
    assert page_window("qwen2.5vl:3b") >= page_tokens("qwen2.5vl:3b") + 350 + 10 * 128 + 2048 + 2 * 2048
    assert reading_window("qwen2.5vl:3b") >= page_tokens("qwen2.5vl:3b") + 350 + 2048
    assert feedback_window("mistral", "") >= 2 * 4000 + 350 + 2048
    assert feedback_window("gpt-oss", "high") - feedback_window("mistral", "") >= 12_288 - 1024


@pytest.mark.parametrize("model", ["gemma3", "gemma3:4b", "someone/Gemma3:27b-it-q4_K_M"])
def test_a_picture_of_fixed_size(model: str) -> None:
    """A family with the same number of tokens for every picture needs a smaller window."""
    assert page_tokens(model) == 258
    assert page_window(model) < page_window("gemma3-like")
