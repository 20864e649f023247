"""Feedback that takes memory by its text: `leak N`, `spike N`, `grow N`, in MiB. Any other text takes none.

A leak is kept after the job. A spike is given back when the file `release` is there. What has grown is held for ever, as by
a decoder that never comes to an end; without a number it grows as fast as it can and does not stop by itself.
"""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from worker.adapters.stub import Stub, StubFeedback

MEBIBYTE = 2**20
JOB_SECONDS = 0.3
STEP_MEBIBYTES, STEP_SECONDS = 50, 0.05  # 1 GB/s
RELEASE = Path("release")


class Hungry(Stub):
    def __init__(self) -> None:
        self._leaked: list[bytes] = []

    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> StubFeedback:
        kind, *size = text_md.split()
        match kind:
            case "leak":
                self._leaked.append(taken(int(size[0])))
                time.sleep(JOB_SECONDS)  # otherwise a hundred jobs would run between two samples, which no model allows
            case "spike":
                spike = taken(int(size[0]))
                while not RELEASE.exists():
                    time.sleep(0.01)
                del spike
            case "grow":
                grow(int(size[0]) if size else None)
        return super().analyze(text_md=text_md, criteria=criteria)


def taken(mebibytes: int) -> bytes:
    """Written, so that it is in use and not only deadline_set."""
    return b"x" * (mebibytes * MEBIBYTE)


def grow(mebibytes: int | None) -> None:
    grown = []
    for size in itertools.count(STEP_MEBIBYTES, STEP_MEBIBYTES):
        if mebibytes is not None and size > mebibytes:
            time.sleep(3600)
        grown.append(taken(STEP_MEBIBYTES))
        if mebibytes is not None:
            time.sleep(STEP_SECONDS)


def build() -> Hungry:
    return Hungry()
