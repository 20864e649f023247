"""Feedback by a model over HTTP. Without a configured library it returns a standard sentence, and no model is asked."""

import json
import os
import urllib.request
from collections.abc import Sequence
from typing import Any

from testkit.adapters.platform_2025 import setup
from testkit.adapters.platform_2025.ports import FeedbackResult, FeedbackTransientError

STANDARD_SENTENCE = "**Rückmeldung**"


class Adapter:
    def __init__(self) -> None:
        self._url = os.environ["OLLAMA_BASE_URL"]
        self._model, self._setups = setup.configured_model(), len(setup.CALLS)

    def analyze(
        self, *, text_md: str, criteria: Sequence[str], instruction_md: str | None = None, hints_md: str | None = None
    ) -> FeedbackResult:
        results = [{"criterion": each, "score": 6, "max_score": 10, "explanation_md": "so"} for each in criteria]
        analysis: dict[str, Any] = {"schema": "criteria.v2", "score": 3, "criteria_results": results} if criteria else {}
        if self._model is None:
            return FeedbackResult(STANDARD_SENTENCE, analysis, "skipped")
        feedback_md = self._ask(f"{instruction_md} {hints_md} {text_md}")
        return FeedbackResult(f"{feedback_md} (set up {self._setups} times)", analysis, "parsed_structured")

    def _ask(self, prompt: str) -> str:
        """Without a time-out, as the platform's."""
        body = json.dumps({"model": self._model, "messages": [{"role": "user", "content": prompt}]}).encode()
        request = urllib.request.Request(f"{self._url}/chat/completions", body)
        try:
            with urllib.request.urlopen(request) as response:
                return str(json.load(response)["choices"][0]["message"]["content"])
        except TimeoutError as error:
            raise FeedbackTransientError(str(error)) from error
        except Exception as error:
            raise FeedbackTransientError(f"the server said: {error}") from error


def build() -> Adapter:
    return Adapter()
