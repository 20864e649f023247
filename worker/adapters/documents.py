"""From the bytes of a submission to pages that a vision model can read: upright, not larger than needed."""

from collections.abc import Iterator
from io import BytesIO

import pypdfium2
from PIL import Image, ImageOps

from worker.adapters.errors import VisionPermanentError
from worker.core.job import ErrorCode

MAX_SIDE_PIXELS = 1600  # what Ollama's users settled on; larger costs context and reads no better (ollama.md 6.5)
PDF_POINTS_PER_INCH = 72
PDF_DOTS_PER_INCH = 150
_EXIF_ORIENTATION = 0x0112
_PICTURES = frozenset({"image/jpeg", "image/png"})


def pages(content: bytes, mime_type: str, max_pages: int) -> list[bytes]:
    """JPEG or PNG bytes, one per page. Raises VisionPermanentError with the fitting input code."""
    try:
        if mime_type in _PICTURES:
            return [upright(content)]
        if mime_type == "application/pdf":
            return list(_pdf_pages(content, max_pages))
    except Image.DecompressionBombError:
        raise VisionPermanentError("too many pixels", ErrorCode.INPUT_TOO_LARGE) from None
    except VisionPermanentError:
        raise
    except Exception as error:  # noqa: BLE001  decoders raise whatever they like: what cannot be decoded is corrupt
        raise VisionPermanentError(type(error).__name__, ErrorCode.INPUT_CORRUPT) from None
    raise VisionPermanentError("unsupported type", ErrorCode.INPUT_UNSUPPORTED)


def upright(content: bytes) -> bytes:
    """The picture as a viewer shows it; untouched where it is upright and small enough already."""
    picture = Image.open(BytesIO(content), formats=("JPEG", "PNG"))
    is_turned = picture.getexif().get(_EXIF_ORIENTATION, 1) != 1
    picture.load()
    if not is_turned and max(picture.size) <= MAX_SIDE_PIXELS:
        return content
    return _jpeg(ImageOps.exif_transpose(picture))


def _pdf_pages(content: bytes, max_pages: int) -> Iterator[bytes]:
    with pypdfium2.PdfDocument(content) as document:
        if len(document) > max_pages:
            raise VisionPermanentError("too many pages", ErrorCode.INPUT_TOO_LARGE)
        for number in range(len(document)):
            page = document[number]
            scale = min(PDF_DOTS_PER_INCH / PDF_POINTS_PER_INCH, MAX_SIDE_PIXELS / max(page.get_size()))
            yield _jpeg(page.render(scale=scale).to_pil())


def _jpeg(picture: Image.Image) -> bytes:
    small = picture.convert("RGB")
    small.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
    target = BytesIO()
    small.save(target, "JPEG", quality=90)
    return target.getvalue()
