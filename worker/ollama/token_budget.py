"""Tokens of each part of a request, and the context window that holds them all.

Ollama's default window is 4096 tokens on most machines. A square page alone takes 3422 of them, and an essay of 4000 words twice
as many. The numbers are upper bounds for the usual families and not measurements of one model.
"""

from typing import Literal

from worker.core.outcome import MAX_CRITERIA
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.ollama.thinking import ThinkLevel, thinking

MAX_PAGE_TOKENS = 2048  # the answer about a page: a densely written one has about 1000
MAX_DOCUMENT_TOKENS = 2048  # ten criteria with three sentences of some forty tokens each, and the feedback
PROMPT_TOKENS = 512  # our own sentences and the chat format: the longest prompt has some 350
CRITERION_TOKENS = 128  # a criterion of some fifty words
TASK_TOKENS = 2048  # the teacher's task and hints, some eight hundred words
_TASK_TOKENS = MAX_CRITERIA * CRITERION_TOKENS + TASK_TOKENS
LONGEST_TEXT_WORDS = 4000
TOKENS_PER_WORD = 2.5  # German takes 1.5 to 2, with the mistakes of a pupil or of a reading more
_SQUARE_PIXELS = 28  # of a token of qwen2.5vl, Mistral and glm-ocr, the most of the usual families. qwen3-vl has 32
_FIXED_IMAGE_TOKENS = {"gemma3": 258}  # whatever the picture's size, with its two marks
_STEP_TOKENS = 1024  # windows are multiples of it


def page_window(model: str) -> int:
    """Window for judging the largest page: its task, the assessment of the pages before, and the next one. Reading needs less."""
    return _rounded(PROMPT_TOKENS + _TASK_TOKENS + page_tokens(model) + 2 * MAX_DOCUMENT_TOKENS)


def reading_window(model: str) -> int:
    """Window for reading the largest page: its prompt and its text."""
    return _rounded(PROMPT_TOKENS + page_tokens(model) + MAX_PAGE_TOKENS)


def page_tokens(model: str) -> int:
    """Tokens of the largest page: its squares, and a mark at the end of each row of them."""
    family = model.rpartition("/")[2].partition(":")[0].lower()
    squares = -(-MAX_SIDE_PIXELS // _SQUARE_PIXELS)
    return _FIXED_IMAGE_TOKENS.get(family, squares * (squares + 1))


def feedback_window(model: str, level: ThinkLevel | Literal[""]) -> int:
    """Window for ten criteria, the longest text, the thoughts of the model and its answer."""
    given = PROMPT_TOKENS + _TASK_TOKENS + round(LONGEST_TEXT_WORDS * TOKENS_PER_WORD)
    return _rounded(given + thinking(model, level).tokens + MAX_DOCUMENT_TOKENS)


def _rounded(tokens: int) -> int:
    return -(-tokens // _STEP_TOKENS) * _STEP_TOKENS
