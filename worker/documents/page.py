"""A page as the decoder's child sends it, and its bytes in the pipe between child and worker."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, Field, ValidationError

MAX_HEAD_BYTES = 2**20  # of the notes and of a page's own text
MAX_REASON_CHARACTERS = 64
NOTES = "notes"  # the key in `info` of a picture that is to become a page
_HEAD = struct.Struct("!I")


class Note(StrEnum):
    """Codes for what was done to a page or is wrong with it. The values stand in the metadata of a reading."""

    CUT = "cut"  # a piece of a long page
    OVERLAP = "overlap"  # a piece that begins with a part of the piece before
    BLANK = "blank"  # nothing but paper: no model is asked, and the text is empty
    LOW_CONTRAST = "low_contrast"  # too pale to be read with certainty
    BLURRED = "blurred"
    SMALL = "small"  # the writing is too small
    OWN_TEXT = "own_text"  # the text is the file's own, and no model has read the page
    INCOMPLETE = "incomplete"  # at most a twentieth of the picture is missing
    PAGE_MISSING = "page_missing"  # it cannot be decoded, and other pages of its document can
    ANNOTATION_MISSING = "annotation_missing"  # a stamp, a sound or a field that the file has without its picture
    FONT_MISSING = "font_missing"  # some letters of a font that is neither in the file nor here


class _Head(BaseModel):
    notes: list[Note] = Field(default=[], max_length=len(Note))
    text: str | None = None
    reason: str = Field(default="", max_length=MAX_REASON_CHARACTERS)


@dataclass(frozen=True, slots=True)
class Page:
    """`picture` is a JPEG. `text` is the page's own text if the file has a sound one, and then no model is asked.

    A missing page has the note PAGE_MISSING, an empty text, no picture, and the reason of a refusal.
    """

    picture: bytes
    notes: tuple[Note, ...] = ()
    text: str | None = None
    reason: str = ""

    def to_bytes(self) -> bytes:
        head = _Head(notes=list(self.notes), text=self.text, reason=self.reason).model_dump_json().encode()
        return _HEAD.pack(len(head)) + head + self.picture

    @classmethod
    def from_bytes(cls, content: bytes) -> "Page":
        """Raise ValueError for bytes that `to_bytes` does not make, because the child is not trusted."""
        if len(content) < _HEAD.size:
            raise ValueError("a page without a head")
        (size_bytes,) = _HEAD.unpack_from(content)
        picture_at = _HEAD.size + size_bytes
        if size_bytes > min(MAX_HEAD_BYTES, len(content) - _HEAD.size):
            raise ValueError("a page with a broken head")
        try:
            head = _Head.model_validate_json(content[_HEAD.size : picture_at])
        except ValidationError:
            raise ValueError("a page with a broken head") from None  # its message would quote the page's text
        return cls(content[picture_at:], tuple(head.notes), head.text, head.reason)


@dataclass(frozen=True, slots=True)
class Document:
    """`pages` decodes each page when it is requested. `continued` is true for each page that continues the page before it.

    It covers all pages, also those before the first wanted one.
    """

    pages: Iterator[Page]
    continued: tuple[bool, ...]

    @property
    def total(self) -> int:
        return len(self.continued)
