"""A feedback adapter that always fails at once, as with a model server that rejects every request."""

from typing import Any, NoReturn

from worker.core.errors import FeedbackTransientError


class FailingFeedback:
    def analyze(self, **_: Any) -> NoReturn:
        raise FeedbackTransientError


def build() -> FailingFeedback:
    return FailingFeedback()
