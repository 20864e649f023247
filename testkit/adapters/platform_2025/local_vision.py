"""Reads a picture of the local directory, and takes its size for its text."""

import os
from pathlib import Path
from typing import Any

from testkit.adapters.platform_2025.ports import VisionPermanentError, VisionResult, VisionTransientError

MIME_TYPES = {"image/jpeg", "image/png", "application/pdf"}


class Adapter:
    def __init__(self) -> None:
        self._root = os.environ.get("STORAGE_VERIFY_ROOT", "")

    def extract(self, *, submission: dict[str, Any], job_payload: dict[str, Any]) -> VisionResult:
        del job_payload
        if submission["mime_type"] not in MIME_TYPES:
            raise VisionPermanentError(f"unsupported mime: {submission['mime_type']}")
        try:
            content = (Path(self._root) / submission["storage_key"]).read_bytes()
        except OSError:
            raise VisionTransientError("image_unavailable") from None
        if len(content) != submission["size_bytes"]:
            raise VisionPermanentError("size_mismatch")
        return VisionResult(f"a picture of {len(content)} bytes", {"backend": "platform"})


def build() -> Adapter:
    return Adapter()
