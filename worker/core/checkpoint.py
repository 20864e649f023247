"""When the text of an earlier OCR may be used again, so that no picture is read twice."""

import hashlib
from collections.abc import Mapping
from typing import Any

from worker.core.outcome import Payload


def origin(content_sha256: str, adapter: str, model_identity: str, prompt: str) -> str:
    """What a text was made from, as one hash: the content, the adapter's module, the model and the prompt."""
    parts = (content_sha256, adapter, model_identity, hashlib.sha256(prompt.encode()).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_usable(payload: Payload, submission: Mapping[str, Any], fingerprint_now: str) -> bool:
    """A text of the web side for an extracted submission, or one of ours made from the same things."""
    if payload.cached_text_md is None:
        return False
    return is_extracted(payload, submission) or payload.cached_from == fingerprint_now


def usable_pages(payload: Payload, fingerprint_now: str) -> tuple[str, ...]:
    """The texts of the first pages, in order, that were read before and need not be asked for again."""
    return payload.cached_pages if payload.cached_pages_from == fingerprint_now else ()


def is_extracted(payload: Payload, submission: Mapping[str, Any]) -> bool:
    """The web side has read the pages: its text counts whatever it was made from, unless it is empty."""
    return submission["analysis_status"] == "extracted" and bool(payload.cached_text_md)
