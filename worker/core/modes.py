"""The mode of a job: which calls turn what was handed in into feedback. As the platform resolves it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """The platform's words, in the payload and in the submission's `internal_metadata`."""

    TEXT_DIRECT = "text_direct"  # typed text: feedback only
    OCR_TEXT = "ocr_text"  # the vision adapter's text: then feedback
    VISUAL_DIRECT = "visual_direct"  # feedback from the pictures themselves, without a text
    DIALOG = "dialog"  # feedback on a conversation, without a text


def mode_of(payload: Mapping[str, Any], submission: Mapping[str, Any]) -> Mode | None:
    """Return the mode of a job. None if its mode or kind is a word of a later platform: then the job stays queued.

    The row's kind counts, not the payload's. Without a mode and a kind of task, as in 2025-12, a picture is `ocr_text`.
    """
    word = _word(payload, submission)
    if word:
        return _known(word)
    kind, task_kind = submission.get("kind"), payload.get("task_kind")
    if "dialog" in (kind, task_kind):
        return Mode.DIALOG
    if kind == "text":
        return Mode.TEXT_DIRECT
    if kind not in {"image", "file"}:
        return None
    return Mode.VISUAL_DIRECT if task_kind in {"native", "visual"} else Mode.OCR_TEXT


def mode_word(payload: Mapping[str, Any], submission: Mapping[str, Any]) -> str:
    """Return the mode as it is written, in lower case, which may be a word of a later platform. '' if none is written."""
    return str(_word(payload, submission) or "").lower()


def _word(payload: Mapping[str, Any], submission: Mapping[str, Any]) -> object:
    metadata = submission.get("internal_metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    return payload.get("analysis_mode") or metadata.get("analysis_mode")


def _known(word: object) -> Mode | None:
    word = word.lower() if isinstance(word, str) else ""
    return Mode(word) if word in set(Mode) else None
