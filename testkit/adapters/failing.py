"""A feedback adapter whose model gives no usable answer to any request, at once."""

from typing import Any, NoReturn

from worker.core.errors import InvalidDocument


class FailingFeedback:
    def analyze(self, **_: Any) -> NoReturn:
        raise InvalidDocument


def build() -> FailingFeedback:
    return FailingFeedback()
