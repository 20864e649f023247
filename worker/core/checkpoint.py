"""Reuse of an earlier OCR result, so that no page is read twice."""

import hashlib

from worker.core.outcome import Payload, Submission


def fingerprint(content_sha256: str, adapter: str, model_identity: str, prompt: str) -> str:
    """One hash of everything that determines a text: the content, the adapter, the model and the prompt.

    `adapter` is its module, with the version of the way in which it makes pages if it has one.
    """
    parts = (content_sha256, adapter, model_identity, hashlib.sha256(prompt.encode()).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_usable(payload: Payload, submission: Submission, fingerprint_now: str) -> bool:
    """True for the web side's text of an extracted submission, and for a text of ours with the same fingerprint."""
    if payload.cached_text_md is None:
        return False
    return is_extracted(payload, submission) or payload.cached_from == fingerprint_now


def usable_pages(payload: Payload, fingerprint_now: str) -> tuple[str, ...]:
    """Texts of the first pages, in order, with the same fingerprint."""
    return payload.cached_pages if payload.cached_pages_from == fingerprint_now else ()


def is_extracted(payload: Payload, submission: Submission) -> bool:
    """True if the web side has read the pages. Its text needs no fingerprint, but must not be empty."""
    return submission["analysis_status"] == "extracted" and bool(payload.cached_text_md)
