"""Text in the pixels of a picture, for the simulated vision model: pale squares below the picture that JPEG leaves as they are.

A page reaches a model without any metadata, so its text cannot stand there. A square covers one block of JPEG's transform.
"""

import zlib

from PIL import Image, ImageOps

CELL_PIXELS = 8
LIGHT, DARK = 250, 230
_THRESHOLD = (LIGHT + DARK) // 2
_MAGIC = b"\xa5\x5a"
_SIZE_BYTES = 2
_MIN_COLUMNS = 4


def with_text(picture: Image.Image, text: str) -> Image.Image:
    """Return the picture with the text below it. Both sides become multiples of CELL_PIXELS."""
    packed = zlib.compress(text.encode(), 9)
    content = _MAGIC + len(packed).to_bytes(_SIZE_BYTES, "big") + packed
    width, height = (-(-side // CELL_PIXELS) for side in picture.size)
    width = max(width, _MIN_COLUMNS)
    rows = -(-8 * len(content) // width)
    page = Image.new("RGB", (width * CELL_PIXELS, (height + rows) * CELL_PIXELS), "white")
    page.paste(picture)
    for number in range(8 * len(content)):
        is_set = content[number // 8] >> (7 - number % 8) & 1
        left, bottom = number % width * CELL_PIXELS, page.height - number // width * CELL_PIXELS
        page.paste((DARK if is_set else LIGHT,) * 3, (left, bottom - CELL_PIXELS, left + CELL_PIXELS, bottom))
    return page if picture.mode == "RGB" else page.convert(picture.mode)


def text_in(picture: Image.Image) -> str | None:
    """Return the text below a picture, or None. The picture may be turned by its EXIF orientation, but not resized."""
    upright = ImageOps.exif_transpose(picture).convert("L")
    if upright.width % CELL_PIXELS or upright.height % CELL_PIXELS:
        return None
    cells = ImageOps.flip(upright.reduce(CELL_PIXELS)).tobytes()
    head = _bytes(cells, len(_MAGIC) + _SIZE_BYTES)
    if not head.startswith(_MAGIC):
        return None
    size = len(head) + int.from_bytes(head[len(_MAGIC) :], "big")
    try:
        return zlib.decompress(_bytes(cells, size)[len(head) :]).decode()
    except (zlib.error, UnicodeDecodeError):
        return None


def _bytes(cells: bytes, size: int) -> bytes:
    bits = "".join("1" if cell < _THRESHOLD else "0" for cell in cells[: 8 * size])
    return int(bits or "0", 2).to_bytes(size, "big") if len(bits) == 8 * size else b""
