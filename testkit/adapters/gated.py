"""Feedback that ends when the test creates the file in GATE. It is so long that the server stores it outside the row."""

import os
import secrets
import select
from collections.abc import Sequence
from pathlib import Path

from worker.adapters.stub import Stub, StubFeedback

ROOM_BYTES = 200_000  # not to be compressed: dozens of pages that the table does not have yet


class Gated(Stub):
    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> StubFeedback:
        while not Path(os.environ["GATE"]).exists():
            select.select([], [], [], 0.01)  # time.sleep fails under libfaketime
        plain = super().analyze(text_md=text_md, criteria=criteria)
        return StubFeedback(plain.analysis_json, secrets.token_hex(ROOM_BYTES // 2))


def build() -> Gated:
    return Gated()
