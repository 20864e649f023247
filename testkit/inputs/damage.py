"""Damaged files whose damage is known: real structure of each format that is read, broken in one way by a seed.

A damage names the reasons that belong to it. A file may be read in spite of its damage if its pages look as those of the whole
file.
"""

import importlib
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from PIL import Image

from testkit.drawn_marks import draw_mark
from testkit.drawn_pages import draw_page, pdf_bytes
from testkit.inputs.files import ENCRYPTED, encoded, pdf
from testkit.inputs.marked_pdfs import PdfPage, mark_drawn, pdf_of, typed

Damage = Callable[[bytes, "Format", random.Random], bytes]
CUT_OFF, DAMAGED, TOO_LARGE = "file_cut_off", "file_damaged", "file_too_large"
SIZE, LINES = (700, 980), "\n".join(["Drei mal vierzehn."] * 12)
LONG = 200  # bytes that are too many, and the longest run that is changed


@dataclass(frozen=True, slots=True)
class Format:
    """`data` is the mark in the bytes behind which the content begins. `is_document`: read from its end, with pages."""

    make: Callable[[], bytes]
    data: bytes = b""
    is_document: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to damage a file. Empty `reasons`: the damage is beside the content, so the file must be read."""

    damage: Damage
    reasons: frozenset[str]
    formats: tuple[str, ...] = ()  # all


@dataclass(frozen=True, slots=True)
class Damaged:
    """A damaged file, and the reasons for which it may be refused."""

    format: str
    kind: str
    content: bytes
    reasons: frozenset[str]


def damaged_files(formats: tuple[str, ...], count: int, seed: int) -> Iterator[Damaged]:
    """Yield files with each format and each kind of damage in turn."""
    chance = random.Random(seed)
    pairs = [(name, kind) for kind in KINDS for name in KINDS[kind].formats or formats if name in formats]
    for number in range(count):
        name, kind = pairs[number % len(pairs)]
        content = KINDS[kind].damage(whole(name), FORMATS[name], chance)
        yield Damaged(name, kind, content, KINDS[kind].reasons | (DOCUMENT_REASONS if FORMATS[name].is_document else frozenset()))


@cache
def whole(name: str) -> bytes:
    return FORMATS[name].make()


# Formats


@cache
def _page() -> Image.Image:
    page = draw_page(LINES, seed=7, size=SIZE)
    draw_mark(page, "Marke", (300, 500), cell_px=5)
    return page


def _picture(kind: str, **options: object) -> Callable[[], bytes]:
    return lambda: encoded(_page(), kind, **options)


def _heic() -> bytes:
    importlib.import_module("pillow_heif").register_heif_opener()
    return encoded(_page(), "HEIF")


def _several() -> bytes:
    return encoded(_page(), "TIFF", save_all=True, append_images=[_page()], compression="tiff_lzw")


def _typed() -> bytes:
    return pdf_of([PdfPage(typed(["Die Pflanze nimmt Wasser auf."] * 30) + mark_drawn("Marke", (150, 200)))] * 2)


FORMATS = {
    "JPEG": Format(_picture("JPEG", quality=88), b"\xff\xda"),
    "progressive JPEG": Format(_picture("JPEG", quality=88, progressive=True), b"\xff\xda"),
    "PNG": Format(_picture("PNG"), b"IDAT"),
    "PDF of scans": Format(lambda: pdf_bytes([_page()] * 2), b"stream", is_document=True),
    "typed PDF": Format(_typed, b"stream", is_document=True),
    "WebP": Format(_picture("WEBP", quality=85), b"VP8"),
    "AVIF": Format(_picture("AVIF", speed=10), b"mdat"),
    "HEIC": Format(_heic, b"mdat"),
    "TIFF": Format(_several),
    "GIF": Format(_picture("GIF")),
    "BMP": Format(_picture("BMP")),
}


# Kinds of damage


def _data_at(content: bytes, of: Format) -> int:
    """Return the place behind which the content is."""
    return content.index(of.data) + len(of.data) + 16 if of.data else len(content) // 20


def _cut(content: bytes, of: Format, chance: random.Random) -> bytes:
    """End the upload within the content."""
    return content[: chance.randrange(_data_at(content, of), len(content) * 94 // 100)]


def _cut_at_head(content: bytes, of: Format, chance: random.Random) -> bytes:
    """End the upload before any content."""
    return content[: chance.randrange(16, max(17, min(_data_at(content, of) - 16, LONG)))]


def _cut_late(content: bytes, _: Format, chance: random.Random) -> bytes:
    """End the upload when nearly all is there."""
    return content[: -chance.randrange(1, len(content) * 2 // 100)]


def _zeros(content: bytes, of: Format, chance: random.Random) -> bytes:
    """Leave the rest of the content empty, as a disk without room does."""
    at = chance.randrange(_data_at(content, of), len(content) * 90 // 100)
    return content[:at] + bytes(len(content) - at)


def _hole(content: bytes, of: Format, chance: random.Random) -> bytes:
    """Lose some bytes of the content."""
    at = chance.randrange(_data_at(content, of), len(content) * 90 // 100)
    return content[:at] + content[at + chance.randrange(1, LONG) :]


def _changed(content: bytes, of: Format, chance: random.Random) -> bytes:
    """Change some bytes of the content."""
    changed, at = bytearray(content), _data_at(content, of)
    for _ in range(chance.randrange(1, 20)):
        changed[chance.randrange(at, len(content))] ^= chance.randrange(1, 256)
    return bytes(changed)


def _repeated(content: bytes, of: Format, chance: random.Random) -> bytes:
    at = chance.randrange(_data_at(content, of), len(content))
    return content[:at] + content[at - LONG : at] + content[at:]


def _behind(content: bytes, _: Format, chance: random.Random) -> bytes:
    return content + chance.randbytes(chance.randrange(1, 10 * LONG))


def _without_signature(content: bytes, _: Format, chance: random.Random) -> bytes:
    return chance.randbytes(4).replace(b"\xff", b"a") + bytes(12) + content[1200:]


def _nothing(_: bytes, __: Format, ___: random.Random) -> bytes:
    return b""


def _locked(_: bytes, __: Format, chance: random.Random) -> bytes:
    return pdf(chance.randrange(1, 5), trailer=ENCRYPTED)


def _too_many(_: bytes, __: Format, chance: random.Random) -> bytes:
    return pdf(chance.randrange(21, 60))


def _broken_comment(content: bytes, _: Format, chance: random.Random) -> bytes:
    """Add metadata with a wrong length or checksum behind the head."""
    noise = chance.randbytes(chance.randrange(20, LONG))
    if content.startswith(b"\xff\xd8"):
        return content[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(noise)) + b"Exif\0\0" + noise + content[2:]
    wrong = struct.pack(">I", zlib.crc32(noise) ^ 1)
    return content[:33] + struct.pack(">I", len(noise)) + b"tEXt" + noise + wrong + content[33:]


def _without_end(content: bytes, _: Format, __: random.Random) -> bytes:
    return content.removesuffix(b"\xff\xd9") if content.startswith(b"\xff\xd8") else content[:-12]


def _huge(content: bytes, _: Format, chance: random.Random) -> bytes:
    """Claim a picture of an impossible size."""
    sides = chance.randrange(50_000, 65_000), chance.randrange(50_000, 65_000)
    if content.startswith(b"\xff\xd8"):
        at = next(at for at in range(len(content)) if content[at : at + 2] in {b"\xff\xc0", b"\xff\xc2"})
        return content[: at + 5] + struct.pack(">HH", *sides) + content[at + 9 :]
    head = b"IHDR" + struct.pack(">II", *sides) + content[24:29]
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


DOCUMENT_REASONS = frozenset({DAMAGED})  # a document is read from its end, which does not tell why it is missing
CAMERA, BESIDE = ("JPEG", "progressive JPEG", "PNG"), frozenset[str]()
KINDS = {
    "cut": Kind(_cut, frozenset({CUT_OFF})),
    "cut before the content": Kind(_cut_at_head, frozenset({CUT_OFF, DAMAGED})),
    "cut at the end": Kind(_cut_late, frozenset({CUT_OFF})),
    "zeros": Kind(_zeros, frozenset({CUT_OFF, DAMAGED})),
    "bytes lost": Kind(_hole, frozenset({CUT_OFF, DAMAGED})),
    "bytes changed": Kind(_changed, frozenset({CUT_OFF, DAMAGED, TOO_LARGE})),
    "bytes repeated": Kind(_repeated, frozenset({CUT_OFF, DAMAGED})),
    "no signature": Kind(_without_signature, frozenset({"not_a_document"})),
    "huge": Kind(_huge, frozenset({CUT_OFF, DAMAGED, TOO_LARGE}), CAMERA),
    "bytes behind": Kind(_behind, BESIDE),
    "broken comment": Kind(_broken_comment, BESIDE, CAMERA),
    "no end": Kind(_without_end, BESIDE, CAMERA),
    "empty": Kind(_nothing, frozenset({"file_empty"}), ("JPEG", "typed PDF")),
    "locked": Kind(_locked, frozenset({"document_locked"}), ("typed PDF",)),
    "too many pages": Kind(_too_many, frozenset({"too_many_pages"}), ("typed PDF",)),
}
