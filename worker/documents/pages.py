"""From the bytes of a file to pages that a vision model can read: upright, opaque, not larger than needed.

Pure, and for the decoder's child alone: what a decoder does to the process that runs it must not happen to a worker.
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
from worker.ipc.contract import ErrorCode

MAX_SIDE_PIXELS = 1600  # what Ollama's users settled on; larger costs context and reads no better (ollama.md 6.5)
MIN_SIDE_PIXELS = 32  # qwen3-vl's engine panics below, qwen2.5vl's below 28, and both where one side is 200 times the other
MAX_PIXELS = 40_000_000  # phones take photos of 12 or 24 million; 40 million take up to 350 MiB of the 512 that the child has
MAX_PDF_HEADER_BYTES = 1024  # where PDF readers look for the signature
PDF_DOTS_PER_INCH = 150
JPEG_QUALITY = 90
_PDF_POINTS_PER_INCH = 72
_PICTURE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_EXIF_ORIENTATION = 0x0112
_TURNS = {  # our own table: ImageOps.exif_transpose writes the EXIF back, and fails on what cameras put there
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.preinit()  # before the fork: the child has nothing to import


@dataclass(frozen=True, slots=True)
class Document:
    """`total` counts all pages; `pages` gives JPEG or PNG bytes, each decoded when it is asked for."""

    total: int
    pages: Iterator[bytes]


def opened(content: bytes, mime_type: str, max_pages: int, first_page: int = 1) -> Document:
    """The document from `first_page` (counted from 1) on. Its pages raise like this function.

    Raises VisionPermanentError: input_unsupported for another kind of file than declared and for a locked PDF,
    input_too_large for too many pages, pixels or bytes of memory, input_corrupt for what cannot be decoded.
    """
    with _refusals():
        total, page = _kind(content, mime_type)
        if total > max_pages:
            raise VisionPermanentError("too many pages", ErrorCode.INPUT_TOO_LARGE)
    return Document(total, _pages(page, range(first_page, total + 1)))


def _pages(page: Callable[[int], bytes], numbers: range) -> Iterator[bytes]:
    for number in numbers:
        with _refusals():
            content = page(number)
        yield content


@contextmanager
def _refusals() -> Iterator[None]:
    """What decoders raise, as what it means for the submission; never with their messages."""
    try:
        yield
    except VisionPermanentError:
        raise
    except (MemoryError, Image.DecompressionBombError):
        raise VisionPermanentError("too large to decode", ErrorCode.INPUT_TOO_LARGE) from None
    except Exception as error:  # noqa: BLE001  decoders raise whatever they like: what cannot be decoded is corrupt
        raise VisionPermanentError(type(error).__name__, ErrorCode.INPUT_CORRUPT) from None


def _kind(content: bytes, mime_type: str) -> tuple[int, Callable[[int], bytes]]:
    """How many pages there are, and what makes one of them.

    A JPEG declared as PNG is read as what it is. Anything else under the wrong name is unsupported and not corrupt: a photo
    in a phone's own format can be handed in again in another one. With the right signature it is, if anything, corrupt.
    """
    if not content:
        raise VisionPermanentError("no bytes", ErrorCode.INPUT_CORRUPT)
    if mime_type in {"image/jpeg", "image/png"} and content.startswith(_PICTURE_SIGNATURES):
        return 1, lambda _number: _picture_page(content)
    if mime_type == "application/pdf" and b"%PDF-" in content[:MAX_PDF_HEADER_BYTES]:
        document = _unlocked(content)
        return len(document), lambda number: _pdf_page(document, number)
    raise VisionPermanentError("unsupported type", ErrorCode.INPUT_UNSUPPORTED)


# Pictures


def _picture_page(content: bytes) -> bytes:
    """Untouched if it is upright, opaque, of 8 bits and of a fitting size; all of it is decoded before that is believed."""
    picture = Image.open(BytesIO(content), formats=("JPEG", "PNG"))
    if picture.width * picture.height > MAX_PIXELS:
        raise VisionPermanentError("too many pixels", ErrorCode.INPUT_TOO_LARGE)
    is_plain = _raw_mode(picture) in {"RGB", "L"}
    _draft(picture)
    picture.load()
    turn = _TURNS.get(_orientation(picture))
    is_fitting = min(picture.size) >= MIN_SIDE_PIXELS and max(picture.size) <= MAX_SIDE_PIXELS
    if is_plain and is_fitting and turn is None and not picture.has_transparency_data:
        return content
    small = _small(_opaque(picture))
    return _jpeg(small if turn is None else small.transpose(turn))


def _raw_mode(picture: ImageFile.ImageFile) -> object:
    """How the file stores a pixel, before load(): an RGB picture may have 16 bits, which not every reader takes."""
    arguments = picture.tile[0].args
    return arguments[0] if isinstance(arguments, tuple) else arguments


def _draft(picture: Image.Image) -> None:
    """Lets a JPEG's decoder leave out what would be scaled away: a half, a quarter or an eighth, never below our size."""
    ratio = MAX_SIDE_PIXELS / max(picture.size)
    if ratio < 1:
        picture.draft(None, (max(1, math.ceil(picture.width * ratio)), max(1, math.ceil(picture.height * ratio))))


def _orientation(picture: Image.Image) -> int:
    """Upright where the EXIF is broken: the picture itself can be read."""
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  parsers of EXIF raise whatever they like
        return 1


def _opaque(picture: Image.Image) -> Image.Image:
    """RGB or L of 8 bits; transparency is on white paper, so that black ink stays readable."""
    if picture.mode.startswith("I"):  # 16 bits, scaled: Pillow's own conversion clips, and would leave white
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.has_transparency_data:
        inked = picture.convert("RGBA")
        paper = Image.new("RGB", picture.size, "white")
        paper.paste(inked, mask=inked)
        return paper
    return picture if picture.mode in {"RGB", "L"} else picture.convert("RGB")


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))  # never enlarges
    return picture


def _broad(picture: Image.Image) -> Image.Image:
    """On white paper of MIN_SIDE_PIXELS where it is narrower: no answer would come back for it, at no try."""
    width, height = (max(side, MIN_SIDE_PIXELS) for side in picture.size)
    if (width, height) == picture.size:
        return picture
    paper = Image.new(picture.mode, (width, height), "white")
    paper.paste(picture)
    return paper


def _jpeg(picture: Image.Image) -> bytes:
    target = BytesIO()
    _broad(picture).save(target, "JPEG", quality=JPEG_QUALITY)
    return target.getvalue()


# PDFs


def _unlocked(content: bytes) -> pypdfium2.PdfDocument:
    """A PDF that asks for a password is unsupported and not corrupt: a pupil can hand it in again without one.

    One that is merely protected against changes opens without.
    """
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in {FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY}:
            raise VisionPermanentError("locked PDF", ErrorCode.INPUT_UNSUPPORTED) from None
        raise
    document.init_forms()  # else what a pupil typed into a worksheet's fields is not rendered
    return document


def _pdf_page(document: pypdfium2.PdfDocument, number: int) -> bytes:
    """Rendered at most at MAX_SIDE_PIXELS, whatever size the page claims to have; for a page without one pdfium has its own."""
    page = document[number - 1]
    scale = min(PDF_DOTS_PER_INCH / _PDF_POINTS_PER_INCH, (MAX_SIDE_PIXELS - 0.5) / max(page.get_size()))  # it rounds up
    return _jpeg(page.render(scale=scale).to_pil())
