"""Reads a picture with a model."""

from collections.abc import Mapping
from typing import Any

from testkit.adapters.platform_2026.files import picture_of
from testkit.adapters.platform_2026.ports import VisionPermanentError, VisionResult, VisionTransientError
from testkit.adapters.platform_2026.server import Conversation

LONGEST_TEXT = 65_536


class Adapter:
    def extract(self, *, submission: Mapping[str, Any], job_payload: Mapping[str, Any]) -> VisionResult:
        del job_payload
        picture = picture_of(submission, VisionTransientError, VisionPermanentError)
        conversation = Conversation.begin("AI_OCR_MODEL", "visual", VisionTransientError)
        text_md = conversation.ask(f"{len(picture)} bytes", stage="ocr")
        if not text_md:
            raise VisionTransientError("empty_ocr_text", conversation.events)
        if len(text_md) > LONGEST_TEXT:
            raise VisionTransientError("ocr_text_too_long", conversation.events)
        return VisionResult(text_md, {"backend": "platform"}, conversation.events)


def build() -> Adapter:
    return Adapter()
