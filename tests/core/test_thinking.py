"""Models that think, and the tokens for it."""

from typing import Literal

import pytest

from worker.ollama.thinking import THOUGHT_TOKENS, Thinking, thinking

Level = Literal["", "low", "medium", "high"]


@pytest.mark.parametrize(
    "model", ["gpt-oss", "gpt-oss:latest", "gpt-oss:120b", "someone/gpt-oss:20b", "hf.co/x/gpt-oss-20b-GGUF:Q4"]
)
def test_a_model_that_cannot_stop(model: str) -> None:
    """It thinks at the level of the settings, by default the lowest, and gets tokens for it."""
    assert thinking(model, "") == Thinking("low", THOUGHT_TOKENS["low"])
    assert thinking(model, "high") == Thinking("high", THOUGHT_TOKENS["high"])


@pytest.mark.parametrize("model", ["qwen3:8b", "gemma3", "gpt-oss/other", "my-gpt-oss"])
@pytest.mark.parametrize("level", ["", "high"])
def test_any_other_model(model: str, level: Level) -> None:
    """It does not think at any level, because models that cannot think reject `think` true."""
    assert thinking(model, level) == Thinking(think=False, tokens=0)


def test_more_thought_gets_more_tokens() -> None:
    assert THOUGHT_TOKENS["low"] < THOUGHT_TOKENS["medium"] < THOUGHT_TOKENS["high"]
