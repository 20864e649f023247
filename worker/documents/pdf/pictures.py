"""Pictures on the page of a PDF: their density, and whether they were decoded."""

import ctypes
import math
from collections.abc import Iterator

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from worker.core.file_refusals import FileDamaged, FileTooLarge
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents.pictures.jpeg import Jpeg
from worker.documents.pictures.png import is_zlib_sound
from worker.documents.pictures.whole import NEARLY_WHOLE_SHARE

MAX_BYTES = 1_000_000_000  # of one decoded picture. pdfium leaves the rest of a larger one black
_MEMORY_BYTES = 64 * 2**20  # of one decoded picture. A smaller one is missing because it is damaged
MAX_PICTURES = 200  # of a page that are examined. A scan has a few, or some dozens of strips
_HALF = 0.5
_MAX_DEPTH = 4
_LEAST_SHARE = 0.01  # of the page: a smaller picture is decoration
_EXAMINED_SHARE = 0.1  # of the page: a picture of this size that left no mark is examined
Box = tuple[float, float, float, float]
_LONG = 2.0  # ratio of the sides: such a page is not reduced to the size of one picture


def is_large_enough(size: tuple[int, int]) -> bool:
    """True if more pixels would be reduced again."""
    return max(size) >= MAX_SIDE_PIXELS and max(size) <= _LONG * min(size)


def pixels_per_point(document: pypdfium2.PdfDocument, index: int) -> float:
    """Return the density of the densest picture on a page, 0 without pictures."""
    page = document[index]
    try:
        return max((_density(picture) for picture in _pictures(page, _LEAST_SHARE)), default=0.0)
    finally:
        page.close()


def refuse_huge(page: pypdfium2.PdfPage) -> None:
    """Raise FileTooLarge before a picture is decoded of which pdfium would show only a part."""
    if any(_bytes(picture) > MAX_BYTES for picture in _pictures(page, 0.0)):
        raise FileTooLarge("a picture of too many pixels")


def is_whole(page: pypdfium2.PdfPage, rendered: Image.Image) -> bool:
    """False if a little of a picture that fills much of the page is missing. Raises if much is, or if it was not drawn.

    pdfium leaves a picture out without an error, and draws what is missing of one in grey or black.
    """
    shares = [_share(picture, page, rendered) for picture in _pictures(page, _EXAMINED_SHARE)]
    return min(shares, default=1.0) == 1.0


def _share(picture: pypdfium2.PdfImage, page: pypdfium2.PdfPage, rendered: Image.Image) -> float:
    """Return the share of a picture that is in the file."""
    is_blank = is_uniform(rendered, on_picture(page, rendered.size, picture.get_bounds()))
    is_drawn = not is_blank or _has_bitmap(picture)
    share = _stored_share(picture, is_blank) if is_drawn else 0.0
    if share < NEARLY_WHOLE_SHARE:
        raise (FileTooLarge if is_blank and _bytes(picture) > _MEMORY_BYTES else FileDamaged)("a picture is missing")
    return share


def _pictures(page: pypdfium2.PdfPage, least_share: float) -> Iterator[pypdfium2.PdfImage]:
    least_area = least_share * page.get_width() * page.get_height()
    for number, picture in enumerate(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=_MAX_DEPTH)):
        if number == MAX_PICTURES:
            return
        left, bottom, right, top = picture.get_bounds()
        if (right - left) * (top - bottom) >= least_area:
            yield picture


def _pixels(picture: pypdfium2.PdfImage) -> tuple[int, int]:
    width, height = ctypes.c_uint(), ctypes.c_uint()
    raw.FPDFImageObj_GetImagePixelSize(picture, width, height)
    return width.value, height.value


def _density(picture: pypdfium2.PdfImage) -> float:
    left, bottom, right, top = picture.get_bounds()
    shown, pixels = sorted((right - left, top - bottom)), sorted(_pixels(picture))
    return min((count / points for count, points in zip(pixels, shown, strict=True) if points > 0), default=0.0)


def _bytes(picture: pypdfium2.PdfImage) -> int:
    return math.prod(_pixels(picture)) * len("RGB")


def on_picture(page: pypdfium2.PdfPage, size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """Return a box of the page (left, bottom, right, top) in pixels of the rendered page."""
    left, bottom, right, top = box
    corners = [_on_device(page, size, *corner) for corner in ((left, bottom), (right, top))]
    (x0, x1), (y0, y1) = (sorted(values) for values in zip(*corners, strict=True))
    return max(0, x0), max(0, y0), min(size[0], x1), min(size[1], y1)


def _on_device(page: pypdfium2.PdfPage, size: tuple[int, int], x: float, y: float) -> tuple[int, int]:
    device_x, device_y = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, device_x, device_y)
    return device_x.value, device_y.value


def is_uniform(rendered: Image.Image, box: tuple[int, int, int, int]) -> bool:
    """True if all pixels of a box have the same colour, False for a box outside of the page."""
    if box[2] <= box[0] or box[3] <= box[1]:
        return False
    return all(low == high for low, high in _extrema(rendered.crop(box)))


def _extrema(picture: Image.Image) -> list[tuple[int, int]]:
    found = picture.getextrema()
    return [found] if isinstance(found[0], int | float) else list(found)  # type: ignore[list-item]


def _has_bitmap(picture: pypdfium2.PdfImage) -> bool:
    bitmap = raw.FPDFImageObj_GetBitmap(picture)
    if bitmap:
        raw.FPDFBitmap_Destroy(bitmap)
    return bool(bitmap)


def _stored_share(picture: pypdfium2.PdfImage, is_blank: bool) -> float:
    """Return the share of a JPEG, or of a picture without a format of its own. It is 1 where it is not known."""
    filters = picture.get_filters()
    if filters[-1:] == ["DCTDecode"]:
        return _share_of_jpeg(bytes(picture.get_data(decode_simple=True)), _pixels(picture))
    if picture.get_filters(skip_simple=True):
        return 1.0
    if filters[:1] == ["FlateDecode"] and not is_zlib_sound(bytes(picture.get_data(decode_simple=False))):
        return _share_of_rows(picture)
    return 1.0 if not is_blank or _share_of_rows(picture) >= _HALF else 0.0


def _share_of_rows(picture: pypdfium2.PdfImage) -> float:
    """The bits of a pixel are those that pdfium has drawn. In the file, a pixel with a palette may have one."""
    width, height = _pixels(picture)
    told = picture.get_metadata()
    bits = 1 if told.colorspace == raw.FPDF_COLORSPACE_INDEXED else max(1, told.bits_per_pixel)
    found_bytes = int(raw.FPDFImageObj_GetImageDataDecoded(picture, None, 0))
    return min(1.0, found_bytes / max(1, height * math.ceil(width * bits / 8)))


def _share_of_jpeg(content: bytes, size: tuple[int, int]) -> float:
    """A JPEG that a PDF gives another size is one that only pdfium can tell the size of."""
    try:
        jpeg = Jpeg(content)
    except FileDamaged:
        return 1.0
    if jpeg.sizes != [size]:
        return 1.0
    try:
        return jpeg.share()
    except (FileDamaged, OSError):
        return 0.0
    except SyntaxError:
        return 1.0  # of a kind that Pillow does not open
