"""Puts what a pupil wrote into its exceptions, also into one that is no Exception."""

from collections.abc import Sequence

from worker.adapters.stub import Stub, StubFeedback


class Leaky(Stub):
    def analyze(self, *, text_md: str, criteria: Sequence[str]) -> StubFeedback:
        if len(criteria) > 1:
            raise RuntimeError(text_md)
        raise SystemExit(text_md)


def build() -> Leaky:
    return Leaky()
