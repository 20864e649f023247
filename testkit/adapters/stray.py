"""Forks in each call for feedback. Both processes return. The worker waits for the other one and notes its exit code."""

import os
from collections.abc import Sequence
from pathlib import Path

from worker.adapters.stub import Stub, StubFeedback

EXIT_CODES = Path("exit_codes")


class Stray(Stub):
    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> StubFeedback:
        if child := os.fork():
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            with EXIT_CODES.open("a") as file:
                file.write(f"{code}\n")
        return super().analyze(text_md=text_md, criteria=criteria)


def build() -> Stray:
    return Stray()
