"""Validation of a job's payload, quarantine, and values that PostgreSQL can store."""

from typing import Any
from uuid import UUID

import pytest

from worker.core.outcome import (
    MAX_CRITERIA,
    MAX_EXPIRIES,
    Failed,
    Lease,
    Payload,
    parse_payload,
    quarantine,
    storable,
)
from worker.ipc.contract import WORKER_CRASHED, ErrorCode, Step

SUBMISSION, OTHER = UUID(int=1), UUID(int=2)
PRIVATE = "what a pupil wrote"
PLATFORM: dict[str, Any] = {
    "submission_id": str(SUBMISSION),
    "course_id": str(UUID(int=3)),
    "task_id": str(UUID(int=4)),
    "student_sub": "sub-1",
    "kind": "image",
    "attempt_nr": 1,
    "criteria": ["Inhalt", "Form"],
    "instruction_md": None,
    "hints_md": None,
}


def lease(payload: object, retry_count: int = 0, age_seconds: float = 0.0) -> Lease:
    return Lease(UUID(int=5), SUBMISSION, UUID(int=6), payload, retry_count, age_seconds)


def accepted(**changes: object) -> Payload:
    payload = parse_payload(lease(PLATFORM | changes))
    assert isinstance(payload, Payload)
    return payload


def test_the_platforms_payload() -> None:
    """The platform's payload is valid, and the keys that workers add have their defaults."""
    assert accepted() == Payload(student_sub="sub-1", kind="image", criteria=("Inhalt", "Form"))


VALID: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "no criteria": ({"criteria": []}, {"criteria": ()}),
    "as many as may be": ({"criteria": ["c"] * MAX_CRITERIA}, {"criteria": ("c",) * MAX_CRITERIA}),
    "text": ({"kind": "text"}, {"kind": "text"}),
    "file": ({"kind": "file"}, {"kind": "file"}),
    "instruction and hints": ({"instruction_md": "i", "hints_md": "h"}, {"instruction_md": "i", "hints_md": "h"}),
    "what a worker added": (
        {"cached_text_md": "t", "cached_from": "f", "crashes": 1, "expiries": 2},
        {"cached_text_md": "t", "cached_from": "f", "crashes": 1, "expiries": 2},
    ),
    "unknown keys": ({"cached_raw_metadata": {"a": 1}, "colour": "red"}, {"kind": "image"}),
    "no submission": ({"submission_id": None}, {"criteria": ("Inhalt", "Form")}),
    "submission that is no id": ({"submission_id": PRIVATE}, {"criteria": ("Inhalt", "Form")}),
    "submission of another job": ({"submission_id": str(OTHER)}, {"criteria": ("Inhalt", "Form")}),
    "unknown kind": ({"kind": "hologram"}, {"kind": "hologram"}),
    "kind that is no text": ({"kind": 7}, {"kind": None}),
    "criteria as text": ({"criteria": PRIVATE}, {"criteria": ()}),
    "criteria as null": ({"criteria": None}, {"criteria": ()}),
    "criterion as number": ({"criteria": ["Inhalt", 2]}, {"criteria": ("Inhalt", "2")}),
    "eleven criteria": ({"criteria": ["c"] * 11}, {"criteria": ("c",) * 11}),
    "instruction as number": ({"instruction_md": 7}, {"instruction_md": None}),
    "cached text as list": ({"cached_text_md": [PRIVATE]}, {"cached_text_md": None}),
    "fields of a later platform": ({"hologram": {"a": 1}, "analysis_mode": "hologram"}, {"kind": "image"}),
    "count as text": ({"crashes": "3"}, {"crashes": 0}),
    "count below nought": ({"crashes": -1}, {"crashes": 0}),
    "count as truth": ({"crashes": True}, {"crashes": 0}),
    "count as fraction": ({"expiries": 1.5}, {"expiries": 0}),
    "count as null": ({"expiries": None}, {"expiries": 0}),
    "count as list": ({"expiries": [5]}, {"expiries": 0}),
}


@pytest.mark.parametrize(("changes", "expected"), VALID.values(), ids=VALID.keys())
def test_a_valid_payload(changes: dict[str, object], expected: dict[str, object]) -> None:
    """A payload within the contract is valid. A malformed counter counts as 0."""
    payload = accepted(**changes)
    assert {name: getattr(payload, name) for name in expected} == expected


def without(*names: str) -> dict[str, object]:
    return {name: value for name, value in PLATFORM.items() if name not in names}


MISSING: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "no submission": (without("submission_id"), {"kind": "image"}),
    "no kind": (without("kind"), {"kind": None}),
    "no criteria": (without("criteria"), {"criteria": ()}),
    "the student alone": ({"student_sub": "sub-1"}, {"kind": None, "criteria": ()}),
}


@pytest.mark.parametrize(("keys", "expected"), MISSING.values(), ids=MISSING.keys())
def test_a_payload_with_the_student_is_valid(keys: dict[str, object], expected: dict[str, object]) -> None:
    """Submission and kind are those of the rows, and without criteria there are none, as on the platform."""
    payload = parse_payload(lease(keys))
    assert isinstance(payload, Payload)
    assert {name: getattr(payload, name) for name in expected} == expected


INVALID: dict[str, tuple[object, str]] = {
    "no student": (without("student_sub"), "student_sub"),
    "empty student": (PLATFORM | {"student_sub": ""}, "student_sub"),
    "student as number": (PLATFORM | {"student_sub": 7}, "student_sub"),
    "null": (None, "payload"),
    "list": ([PLATFORM], "payload"),
    "text": (PRIVATE, "payload"),
}


@pytest.mark.parametrize(("payload", "fields"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_payload(payload: object, fields: str) -> None:
    """A payload without its student fails its job. The failure names the fields, never their values."""
    expected = Failed(ErrorCode.VISION_FAILED, "payload_invalid", f"payload_invalid: {fields}")
    assert parse_payload(lease(payload)) == expected


QUARANTINES: dict[str, tuple[dict[str, object], int, ErrorCode | None]] = {
    "young": ({}, 2, None),
    "one crash": ({"crashes": 1}, 2, None),
    "two crashes": ({"crashes": 2}, 2, ErrorCode.VISION_FAILED),
    "more than that": ({"crashes": 9}, 2, ErrorCode.VISION_FAILED),
    "first crash is the last": ({"crashes": 1}, 1, ErrorCode.VISION_FAILED),
    "limit raised": ({"crashes": 2}, 3, None),
    "four expiries": ({"expiries": MAX_EXPIRIES - 1}, 2, None),
    "five expiries": ({"expiries": MAX_EXPIRIES}, 2, ErrorCode.VISION_FAILED),
    "neither limit reached": ({"crashes": 1, "expiries": 4}, 2, None),
    "with a checkpoint": ({"crashes": 2, "cached_text_md": "read"}, 2, ErrorCode.FEEDBACK_FAILED),
    "with an empty checkpoint": ({"crashes": 2, "cached_text_md": ""}, 2, ErrorCode.VISION_FAILED),
    "text needs no checkpoint": ({"crashes": 2, "kind": "text"}, 2, ErrorCode.FEEDBACK_FAILED),
}


@pytest.mark.parametrize(("changes", "max_crashes", "code"), QUARANTINES.values(), ids=QUARANTINES.keys())
def test_quarantine(changes: dict[str, object], max_crashes: int, code: ErrorCode | None) -> None:
    """A job is quarantined at its last allowed crash or its fifth expiry, with the code of the step that killed its workers."""
    expected = Failed(code, WORKER_CRASHED, WORKER_CRASHED) if code else None
    assert quarantine(accepted(**changes), max_crashes) == expected


@pytest.mark.parametrize(("step", "code"), [(Step.VISION, "vision_failed"), (Step.FEEDBACK, "feedback_failed")])
def test_the_failure_of_a_step(step: Step, code: str) -> None:
    """Each step has the platform's error code."""
    assert step.failure == code


STORABLE: dict[str, tuple[object, object]] = {
    "plain text": ("Größe: 3 · 4 🙂\n", "Größe: 3 · 4 🙂\n"),
    "NUL": ("a\0b\0", "ab"),
    "high surrogate": ("a\ud83db", "a?b"),
    "low surrogate": ("\udc80", "?"),
    "mapping": ({"a\0": "b\0"}, {"a": "b"}),
    "key that is no text": ({1: "\0"}, {"1": ""}),
    "list": (["\0", "\ud800"], ["", "?"]),
    "tuple": (("a\0",), ["a"]),
    "nested": ({"pages": [{"text\0": ["\0x", {"y": "\udfff"}]}]}, {"pages": [{"text": ["x", {"y": "?"}]}]}),
    "numbers and truths": ({"n": 1, "f": 0.5, "t": True, "z": None}, {"n": 1, "f": 0.5, "t": True, "z": None}),
}


@pytest.mark.parametrize(("value", "expected"), STORABLE.values(), ids=STORABLE.keys())
def test_characters_that_postgresql_cannot_store_are_replaced(value: object, expected: object) -> None:
    """Characters and numbers that PostgreSQL cannot store are removed or replaced. Everything else stays."""
    assert storable(value) == expected
