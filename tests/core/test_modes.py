"""The mode of a job, from its payload and its submission."""

from typing import Any

import pytest

from worker.core.modes import Mode, mode_of

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Mode | None]] = {
    "typed text of 2025-12": ({}, {"kind": "text"}, Mode.TEXT_DIRECT),
    "a photo of 2025-12": ({}, {"kind": "image"}, Mode.OCR_TEXT),
    "a PDF of 2025-12": ({"kind": "text"}, {"kind": "file"}, Mode.OCR_TEXT),
    "the payload's mode": ({"analysis_mode": "visual_direct"}, {"kind": "image"}, Mode.VISUAL_DIRECT),
    "in capitals": ({"analysis_mode": "OCR_TEXT"}, {"kind": "image"}, Mode.OCR_TEXT),
    "the row's mode": ({}, {"kind": "image", "internal_metadata": {"analysis_mode": "visual_direct"}}, Mode.VISUAL_DIRECT),
    "the payload's before the row's": (
        {"analysis_mode": "ocr_text"},
        {"kind": "image", "internal_metadata": {"analysis_mode": "visual_direct"}},
        Mode.OCR_TEXT,
    ),
    "a dialog by its kind": ({}, {"kind": "dialog"}, Mode.DIALOG),
    "a dialog by its task": ({"task_kind": "dialog"}, {"kind": "text"}, Mode.DIALOG),
    "a picture of a native task": ({"task_kind": "native"}, {"kind": "image"}, Mode.VISUAL_DIRECT),
    "a program": ({"task_kind": "scratch"}, {"kind": "file"}, Mode.OCR_TEXT),
    "a mode of a later platform": ({"analysis_mode": "hologram"}, {"kind": "image"}, None),
    "a mode that is no text": ({"analysis_mode": 7}, {"kind": "image"}, None),
    "a kind of a later platform": ({}, {"kind": "video"}, None),
}


@pytest.mark.parametrize(("payload", "submission", "mode"), CASES.values(), ids=CASES.keys())
def test_the_mode(payload: dict[str, Any], submission: dict[str, Any], mode: Mode | None) -> None:
    """The platform's order decides, and an unknown word is no mode."""
    assert mode_of(payload, submission) is mode
