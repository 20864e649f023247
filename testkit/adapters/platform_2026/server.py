"""Requests to an OpenAI-compatible server, without a time-out."""

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from testkit.adapters.platform_2026.ports import AdapterError, TokenUsageEvent

RATE_LIMITED = 429


class ProviderError(Exception):
    """An error status. `response` is where HTTP clients put the headers."""

    def __init__(self, response: urllib.error.HTTPError) -> None:
        super().__init__(str(response.code))
        self.response = response


@dataclass
class Conversation:
    """The requests of one call, with the events of their answers. `transient` is the class of the errors of the server."""

    model: str
    modality: str
    transient: type[AdapterError]
    events: list[TokenUsageEvent]

    @classmethod
    def begin(cls, model_variable: str, modality: str, transient: type[AdapterError]) -> "Conversation":
        """Read the settings that the call needs."""
        _setting("OPENAI_BASE_URL", transient)
        return cls(_setting(model_variable, transient), modality, transient, [])

    def ask(self, prompt: str, *, stage: str, call_kind: str = "primary") -> str:
        try:
            answer = _post({"model": self.model, "messages": [{"role": "user", "content": prompt}]})
        except TimeoutError as error:
            raise self.transient("timeout", self.events) from error
        except ProviderError as error:
            is_limited = error.response.code == RATE_LIMITED
            raise self.transient("provider_rate_limited" if is_limited else "feedback_failed", self.events) from error
        except Exception as error:
            raise self.transient("feedback_failed", self.events) from error
        kind = {"model": self.model, "modality": self.modality, "stage": stage, "call_kind": call_kind}
        self.events.append(TokenUsageEvent.of(answer.get("usage"), **kind))
        return str(answer["choices"][0]["message"]["content"])


def _setting(name: str, error: type[AdapterError]) -> str:
    value = os.getenv(name, "").strip()
    if not value:
        raise error(f"missing_{name}")
    return value


def _post(body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(f"{os.environ['OPENAI_BASE_URL']}/chat/completions", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise ProviderError(error) from error
