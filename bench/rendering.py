"""The time to render documents in the decoder's child process, with its fork."""

import ctypes
import os
import statistics
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from worker.documents import pages
from worker.documents.decoder import decoding
from worker.documents.pictures import jpeg
from worker.documents.sandbox import sandboxed

PAGES = 20
LINES = 45
A4_POINTS = (595, 842)
PHOTO_PIXELS = (4000, 3000)
REPEATS = 7
FORKS = 100
PAGE_LIMIT_SECONDS = 60.0
SENTENCE = "Die Pflanze nimmt Wasser mit den Wurzeln auf und gibt es durch die Blätter wieder ab. "


def measure() -> dict[str, float]:
    """Measure medians. The figures for the photo of 12 megapixels are from JPEG to JPEG."""
    pdf, photo = _text_pdf(), _photo()
    pdf_seconds, photo_seconds = _median(lambda: _decode(pdf)), _median(lambda: _decode(photo))
    draft, jpeg.draft = jpeg.draft, lambda picture, size: None  # noqa: ARG005  the parameter names are part of the type
    try:
        photo_without_draft_seconds = _median(lambda: _decode(photo))
    finally:
        jpeg.draft = draft
    return {
        "pages_per_second": round(PAGES / pdf_seconds, 1),
        "photo_ms": round(1000 * photo_seconds, 1),
        "photo_without_draft_ms": round(1000 * photo_without_draft_seconds, 1),
        "fork_ms": round(1000 * _median(_fork, FORKS), 2),
        "child_peak_mb": round(max(_peak_bytes(pdf), _peak_bytes(photo)) / 1e6, 1),
    }


def _median(work: Callable[[], object], repeats: int = REPEATS) -> float:
    seconds = []
    for _ in range(repeats):
        started_at_seconds = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started_at_seconds)
    return statistics.median(seconds)


def _decode(content: bytes) -> None:
    with decoding(lambda: content, PAGES, page_seconds=PAGE_LIMIT_SECONDS) as document:
        for _ in document:
            pass


def _fork() -> None:
    """Fork and reap a sandboxed child without work."""
    with sandboxed(os.close) as child:
        os.read(child.fd, 1)


def _peak_bytes(content: bytes) -> int:
    """Return VmHWM of a child that has decoded all pages. It includes the memory that is shared with the worker."""

    def work(fd: int) -> None:
        for _ in pages.open_document(content, PAGES).pages:
            pass
        os.write(fd, Path("/proc/self/status").read_bytes())

    with sandboxed(work) as child, os.fdopen(os.dup(child.fd)) as answer:
        status = dict(line.split(":", 1) for line in answer)
        return int(status["VmHWM"].split()[0]) * 1024


def _photo() -> bytes:
    """Make a photo that compresses like handwriting on ruled paper: 12 megapixels in about 3 MB."""
    target = BytesIO()
    rough = Image.effect_noise((PHOTO_PIXELS[0] // 4, PHOTO_PIXELS[1] // 4), 40)
    rough.resize(PHOTO_PIXELS).convert("RGB").save(target, "JPEG", quality=92)
    return target.getvalue()


def _text_pdf() -> bytes:
    document = pypdfium2.PdfDocument.new()
    for _ in range(PAGES):
        page = document.new_page(*A4_POINTS)
        for line in range(LINES):
            page.insert_obj(_line(document, A4_POINTS[1] - 60 - 16 * line))
        page.gen_content()
    target = BytesIO()
    document.save(target)
    return target.getvalue()


def _line(document: pypdfium2.PdfDocument, height_points: float) -> pypdfium2.PdfObject:
    text = raw.FPDFPageObj_NewTextObj(document, b"Helvetica", 11)
    letters = ctypes.create_string_buffer((SENTENCE + "\0").encode("utf-16-le"))
    raw.FPDFText_SetText(text, ctypes.cast(letters, ctypes.POINTER(ctypes.c_ushort)))
    raw.FPDFPageObj_Transform(text, 1, 0, 0, 1, 60, height_points)
    return pypdfium2.PdfObject(text, pdf=document)
