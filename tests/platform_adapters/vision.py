"""Reads nothing and does what PLATFORM_VISION demands: an error, an answer that cannot be stored, or a text."""

import os
from datetime import UTC, datetime
from typing import Any


class VisionTransientError(Exception):
    pass


class VisionPermanentError(Exception):
    pass


class UploadDamaged(VisionPermanentError):
    """A subclass by another name, with a code."""

    error_code = "input_corrupt"


class Result:
    def __init__(self, text_md: Any, raw_metadata: Any) -> None:
        self.text_md = text_md
        self.raw_metadata = raw_metadata


class Adapter:
    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour

    def extract(self, *, submission: dict[str, Any], job_payload: dict[str, Any]) -> Result:
        match self.behaviour:
            case "transient":
                raise VisionTransientError("what the pupil wrote")
            case "permanent":
                raise VisionPermanentError("what the pupil wrote")
            case "corrupt":
                raise UploadDamaged("what the pupil wrote")
            case "bug":
                raise ZeroDivisionError("what the pupil wrote")
            case "nothing":
                return Result("", None)
            case "nan":
                return Result("read", {"confidence": float("nan")})
            case "time":
                return Result("read", {"at": datetime.now(UTC)})
            case "list":
                return Result("read", ["no", "object"])
            case "bytes":
                return Result(b"read", None)
            case text:
                return Result(f"{text} {submission['mime_type']} {job_payload['attempt_nr']}", {"backend": "platform"})


def build() -> Adapter:
    return Adapter(os.environ["PLATFORM_VISION"])
