"""A page like those that the workers send: of the largest size, with strokes in place of handwriting."""

import struct
import zlib

WIDTH, HEIGHT = 1131, 1600  # A4 at worker.documents.pages' longest side
LINE_PIXELS, STROKE_PIXELS, MARGIN_PIXELS = 64, 6, 100
PAPER, INK = b"\xff", b"\x20"
_GREY_8_BITS = (8, 0, 0, 0, 0)


def page(mark: bytes) -> bytes:
    """A PNG. `mark` makes each picture different, so that the server cannot answer from its cache."""
    rows = b"".join(b"\x00" + _row(number, mark) for number in range(HEIGHT))
    parts = [(b"IHDR", struct.pack(">II5B", WIDTH, HEIGHT, *_GREY_8_BITS)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _row(number: int, mark: bytes) -> bytes:
    """One row of pixels. Written lines are strokes of different lengths, and the first row carries the mark."""
    if number == 0:
        return mark[:WIDTH].ljust(WIDTH, PAPER)
    line, offset = divmod(number, LINE_PIXELS)
    if offset >= STROKE_PIXELS or not MARGIN_PIXELS < number < HEIGHT - MARGIN_PIXELS:
        return PAPER * WIDTH
    length = WIDTH - 2 * MARGIN_PIXELS - line % 4 * 50
    return (PAPER * MARGIN_PIXELS + INK * length).ljust(WIDTH, PAPER)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
