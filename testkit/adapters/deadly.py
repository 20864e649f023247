"""Kills its worker for certain texts, as a decoder's bug would."""

import os
import signal
from collections.abc import Sequence

from worker.adapters.stub import Stub, StubFeedback

POISON = "poison"


class Deadly(Stub):
    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> StubFeedback:
        if text_md == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().analyze(text_md=text_md, criteria=criteria)


def build() -> Deadly:
    return Deadly()
