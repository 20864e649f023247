"""Stands for the part of the platform's `main()` that configures its library of prompts.

CALLS counts the calls in this process. `build()` notes the count, so a test sees if the order was right.
"""

import os

CALLS: list[str] = []


def configure() -> None:
    CALLS.append(os.environ["AI_FEEDBACK_MODEL"])


def configured_model() -> str | None:
    return CALLS[0] if CALLS else None
