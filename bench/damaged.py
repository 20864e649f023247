"""The reading of 1 000 damaged files: read, refused with the right reason, or wrong."""

import time
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image, ImageChops

from testkit.inputs.damage import FORMATS, Damaged, damaged_files, whole
from testkit.inputs.peak import MAX_PAGES, peak_bytes
from worker.core.errors import VisionTransientError
from worker.core.file_refusals import FileRefused
from worker.documents.decoder import decoding
from worker.documents.page import Note, Page

FILES, SEED = 1000, 16
PAGE_LIMIT_SECONDS = 60.0
NEARLY_WHOLE = 0.95  # of the points of a page
SAME_LEVELS = 32  # a point that differs by less looks the same

LOSSES = {Note.INCOMPLETE, Note.PAGE_MISSING, Note.ANNOTATION_MISSING, Note.FONT_MISSING}


def measure(files: int = FILES) -> dict[str, Any]:
    """Damage each format that is read. A page that lacks more than a twentieth must be refused or noted."""
    expected = {name: pages for name in FORMATS if (pages := _pages_or_none(name))}
    results, wrong = Counter[str](), Counter[str]()
    page_count, spent_seconds, peak = 0, 0.0, 0
    for each in damaged_files(tuple(expected), files, SEED):
        began_at_seconds = time.perf_counter()
        result = _result(each.content)
        spent_seconds += time.perf_counter() - began_at_seconds
        page_count += len(result) if isinstance(result, list) else 0
        verdict = _verdict(each, result, expected[each.format])
        results[verdict] += 1
        if verdict == "wrong":
            wrong[f"{each.kind}, {each.format}: {result if isinstance(result, str) else 'read'}"] += 1
        peak = max(peak, peak_bytes(each.content) or 0)
    return {
        "formats": ", ".join(expected),
        "files": results.total(),
        **{verdict: results[verdict] for verdict in ("read", "read_and_noted", "refused_rightly", "wrong")},
        "pages_per_second": round(page_count / spent_seconds, 1),
        "child_peak_mb": round(peak / 1e6, 1),
        "wrong_ones": dict(wrong.most_common()),
    }


def _pages_or_none(name: str) -> list[Page] | None:
    """Return the pages of a whole file, None if its format is not read or its encoder is not installed."""
    try:
        pages = _result(whole(name))
    except (ImportError, KeyError):  # KeyError: of Pillow, for a format without an encoder
        return None
    return pages if isinstance(pages, list) else None


def _result(content: bytes) -> list[Page] | str:
    """Return the pages, or the reason of the refusal. A failure that would be tried again has the name of its class."""
    try:
        with decoding(lambda: content, MAX_PAGES, page_seconds=PAGE_LIMIT_SECONDS) as document:
            return list(document)
    except FileRefused as refused:
        return refused.reason
    except VisionTransientError as error:
        return type(error).__name__


def _verdict(each: Damaged, result: list[Page] | str, expected: Sequence[Page]) -> str:
    if isinstance(result, str):
        return "refused_rightly" if result in each.reasons else "wrong"
    if len(result) == len(expected) and all(map(_is_same, result, expected)):
        return "read"
    return "read_and_noted" if each.reasons and any(LOSSES.intersection(page.notes) for page in result) else "wrong"


def _is_same(page: Page, expected: Page) -> bool:
    """Compare what is seen. A page of its own text has none to compare but its text."""
    if Note.PAGE_MISSING in page.notes:
        return False
    if page.text is not None and page.text == expected.text:
        return True
    shown, whole_page = _grey(page.picture), _grey(expected.picture)
    if shown.size != whole_page.size:
        return False
    levels = ImageChops.difference(shown, whole_page).histogram()
    return sum(levels[:SAME_LEVELS]) >= NEARLY_WHOLE * sum(levels)


def _grey(picture: bytes) -> Image.Image:
    return Image.open(BytesIO(picture)).convert("L")
