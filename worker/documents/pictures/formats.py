"""Finds the format of a picture in its first bytes. The declared name and type are not used."""

import re
from enum import Enum, auto

from worker.core.file_refusals import PhotoFormatUnknown

HEAD_BYTES = 1024


class PictureFormat(Enum):
    """The formats that are read."""

    JPEG = auto()
    PNG = auto()
    WEBP = auto()
    AVIF = auto()
    HEIF = auto()
    TIFF = auto()
    GIF = auto()
    BMP = auto()


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BY_SIGNATURE = {
    b"\xff\xd8\xff": PictureFormat.JPEG,  # MPO too: its first picture is an ordinary JPEG
    PNG_SIGNATURE: PictureFormat.PNG,
    b"GIF87a": PictureFormat.GIF,
    b"GIF89a": PictureFormat.GIF,
    b"BM": PictureFormat.BMP,
}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BMP_HEADER_BYTES = {12, 16, 40, 52, 56, 64, 108, 124}  # because the two letters "BM" begin texts as well
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_UNREAD = (  # photos and films in formats that are not read
    b"8BPS",  # Photoshop
    b"\xff\x0a",  # JPEG XL
    b"\0\0\0\x0cJXL ",
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"FUJIFILMCCD-RAW",
    b"IIU\0",  # Panasonic's raw photos
    b"IIRO",  # Olympus's
    b"IIRS",
    b"MMOR",
    b"FOVb",  # Sigma's
    b"\0MRM",  # Minolta's
    b"HEAPCCDR",  # Canon's
    b"\x1aE\xdf\xa3",  # Matroska and WebM
    b"gimp xcf",
    b"\xd7\xcd\xc6\x9a",  # Windows metafile
)
_UNREAD_BOXES = {b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot"}  # a QuickTime film without a file type
_DRAWING = re.compile(rb"^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg[\s>]", re.DOTALL)
_RAW_PHOTO_AT_8 = b"CR"  # Canon's raw photo is a TIFF with these letters


def picture_format(content: bytes) -> PictureFormat | None:
    """Return None for bytes that are no picture. Raises PhotoFormatUnknown for a picture or film that is not read."""
    head = content[:HEAD_BYTES]
    if head[4:8] == b"ftyp":
        return _of_boxes(head)
    if head.startswith(b"RIFF"):
        return _of_riff(head)
    if head.startswith(_TIFF):
        return _of_tiff(head)
    if head.startswith(_UNREAD) or head[4:8] in _UNREAD_BOXES or _DRAWING.match(head):
        raise PhotoFormatUnknown
    for signature, found in _BY_SIGNATURE.items():
        if head.startswith(signature):
            return found if found is not PictureFormat.BMP or _is_bmp(head) else None
    return None


def _of_boxes(head: bytes) -> PictureFormat:
    """A file of boxes names its own brand and those that it is compatible with."""
    size = int.from_bytes(head[:4], "big")
    brand, compatible = head[8:12], {head[at : at + 4] for at in range(16, min(size, len(head)), 4)}
    if brand in _AVIF_BRANDS or (brand in {b"mif1", b"msf1", b"miaf"} and compatible & _AVIF_BRANDS):
        return PictureFormat.AVIF
    if brand in _HEIF_BRANDS or (brand == b"miaf" and compatible & _HEIF_BRANDS):
        return PictureFormat.HEIF
    raise PhotoFormatUnknown


def _of_riff(head: bytes) -> PictureFormat | None:
    if head[8:12] == b"AVI ":
        raise PhotoFormatUnknown
    return PictureFormat.WEBP if head[8:12] == b"WEBP" else None


def _of_tiff(head: bytes) -> PictureFormat:
    if head[8:10] == _RAW_PHOTO_AT_8:
        raise PhotoFormatUnknown
    return PictureFormat.TIFF


def _is_bmp(head: bytes) -> bool:
    return len(head) >= 18 and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES
