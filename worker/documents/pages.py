"""Turns the bytes of a file into pages for a vision model: upright, opaque, not larger than needed.

Runs in the decoder's child and has no effects. A decoder may crash the process that it runs in, so a worker never calls this.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import pypdfium2
from PIL import Image, ImageFile
from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY

from worker.core.errors import VisionPermanentError
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.ipc.contract import ErrorCode

MIN_SIDE_PIXELS = 32  # qwen3-vl's engine panics below 32, qwen2.5vl's below 28, and both at a ratio of 200 between the sides
MAX_PIXELS = 40_000_000  # phones take 12 or 24 million. Decoding 40 million takes up to 350 MiB of the child's 512
MAX_PDF_HEADER_BYTES = 1024  # PDF readers accept the signature anywhere in these bytes
PDF_DOTS_PER_INCH = 150
JPEG_QUALITY = 90
_PDF_POINTS_PER_INCH = 72
_PICTURE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_EXIF_ORIENTATION = 0x0112
_TURNS = {  # because ImageOps.exif_transpose writes the EXIF data back and fails on the data of some cameras
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.preinit()  # before the fork, so that the child has nothing to import


@dataclass(frozen=True, slots=True)
class Document:
    """`total` counts all pages. `pages` yields JPEG or PNG bytes and decodes each page when it is requested."""

    total: int
    pages: Iterator[bytes]


def open_document(
    content: bytes, mime_type: str, max_pages: int, first_page: int = 1, max_side_pixels: int = MAX_SIDE_PIXELS
) -> Document:
    """Open a document whose pages begin with `first_page` (counted from 1).

    This function and the iteration over the pages raise VisionPermanentError with one of these codes:
    input_unsupported for an unknown or wrongly declared type and for a PDF with a password,
    input_too_large for too many pages, pixels or bytes of memory,
    input_corrupt if decoding fails.
    """
    with _decoder_errors_converted():
        total, page = _page_source(content, mime_type, max_side_pixels)
        if total > max_pages:
            raise VisionPermanentError("too many pages", ErrorCode.INPUT_TOO_LARGE)
    return Document(total, _pages(page, range(first_page, total + 1)))


def _pages(page: Callable[[int], bytes], numbers: range) -> Iterator[bytes]:
    for number in numbers:
        with _decoder_errors_converted():
            content = page(number)
        yield content


@contextmanager
def _decoder_errors_converted() -> Iterator[None]:
    """Convert a decoder's exceptions to an input code, without their messages, which may quote the file."""
    try:
        yield
    except VisionPermanentError:
        raise
    except (MemoryError, Image.DecompressionBombError):
        raise VisionPermanentError("too large to decode", ErrorCode.INPUT_TOO_LARGE) from None
    except Exception as error:  # noqa: BLE001  decoders raise exceptions of any class
        raise VisionPermanentError(type(error).__name__, ErrorCode.INPUT_CORRUPT) from None


def _page_source(content: bytes, mime_type: str, max_side_pixels: int) -> tuple[int, Callable[[int], bytes]]:
    """Return the number of pages and a function that makes one of them.

    A JPEG declared as PNG is decoded as JPEG. Any other wrong type is unsupported and not corrupt: a photo in a phone's own
    format can be handed in again in another format. A file with the right signature that fails later is corrupt.
    """
    if not content:
        raise VisionPermanentError("no bytes", ErrorCode.INPUT_CORRUPT)
    if mime_type in {"image/jpeg", "image/png"} and content.startswith(_PICTURE_SIGNATURES):
        return 1, lambda _number: _picture_page(content, max_side_pixels)
    if mime_type == "application/pdf" and b"%PDF-" in content[:MAX_PDF_HEADER_BYTES]:
        document = _open_pdf(content)
        return len(document), lambda number: _pdf_page(document, number, max_side_pixels)
    raise VisionPermanentError("unsupported type", ErrorCode.INPUT_UNSUPPORTED)


# Pictures


def _picture_page(content: bytes, max_side_pixels: int) -> bytes:
    """Return the file unchanged if it is upright, opaque, of 8 bits and of a fitting size, otherwise a new JPEG.

    The whole picture is decoded in either case, so that a damaged one is found here.
    """
    picture = Image.open(BytesIO(content), formats=("JPEG", "PNG"))
    if picture.width * picture.height > MAX_PIXELS:
        raise VisionPermanentError("too many pixels", ErrorCode.INPUT_TOO_LARGE)
    is_plain = _raw_mode(picture) in {"RGB", "L"}
    _draft(picture, max_side_pixels)
    picture.load()
    turn = _TURNS.get(_orientation(picture))
    is_fitting = min(picture.size) >= MIN_SIDE_PIXELS and max(picture.size) <= max_side_pixels
    if is_plain and is_fitting and turn is None and not picture.has_transparency_data:
        return content
    flat = _downscale(_flatten_alpha(picture), max_side_pixels)
    return _jpeg(flat if turn is None else flat.transpose(turn))


def _raw_mode(picture: ImageFile.ImageFile) -> object:
    """Return the pixel format of the file, before load(). An RGB picture may have 16 bits, which some models cannot read."""
    arguments = picture.tile[0].args
    return arguments[0] if isinstance(arguments, tuple) else arguments


def _draft(picture: Image.Image, max_side_pixels: int) -> None:
    """Let the JPEG decoder reduce the picture to 1/2, 1/4 or 1/8, but not below the longest side. It saves time and memory."""
    ratio = max_side_pixels / max(picture.size)
    if ratio < 1:
        picture.draft(None, (max(1, math.ceil(picture.width * ratio)), max(1, math.ceil(picture.height * ratio))))


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, or 1 (upright) if the EXIF data is broken, because the picture itself is readable."""
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  EXIF parsers raise exceptions of any class
        return 1


def _flatten_alpha(picture: Image.Image) -> Image.Image:
    """Convert to RGB or L of 8 bits. Transparent parts become white, so that black ink stays readable."""
    if picture.mode.startswith("I"):  # 16 bits: Pillow's own conversion clips instead of scaling, and leaves white
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.has_transparency_data:
        inked = picture.convert("RGBA")
        paper = Image.new("RGB", picture.size, "white")
        paper.paste(inked, mask=inked)
        return paper
    return picture if picture.mode in {"RGB", "L"} else picture.convert("RGB")


def _downscale(picture: Image.Image, max_side_pixels: int) -> Image.Image:
    picture.thumbnail((max_side_pixels, max_side_pixels))  # never enlarges
    return picture


def _pad_to_minimum(picture: Image.Image) -> Image.Image:
    """Add white so that both sides have MIN_SIDE_PIXELS, because the model's engine crashes on a narrower picture."""
    width, height = (max(side, MIN_SIDE_PIXELS) for side in picture.size)
    if (width, height) == picture.size:
        return picture
    paper = Image.new(picture.mode, (width, height), "white")
    paper.paste(picture)
    return paper


def _jpeg(picture: Image.Image) -> bytes:
    target = BytesIO()
    _pad_to_minimum(picture).save(target, "JPEG", quality=JPEG_QUALITY)
    return target.getvalue()


# PDFs


def _open_pdf(content: bytes) -> pypdfium2.PdfDocument:
    """Open a PDF. One with a password is unsupported and not corrupt, because a pupil can hand it in again without one.

    A PDF that is only protected against changes opens without a password.
    """
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in {FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY}:
            raise VisionPermanentError("PDF with a password", ErrorCode.INPUT_UNSUPPORTED) from None
        raise
    document.init_forms()  # without this, text typed into form fields is not rendered
    return document


def _pdf_page(document: pypdfium2.PdfDocument, number: int, max_side_pixels: int) -> bytes:
    """Render a page with at most `max_side_pixels`, whatever its declared size. A page without a size gets pdfium's default."""
    page = document[number - 1]
    scale = min(PDF_DOTS_PER_INCH / _PDF_POINTS_PER_INCH, (max_side_pixels - 0.5) / max(page.get_size()))  # pdfium rounds up
    return _jpeg(page.render(scale=scale).to_pil())
