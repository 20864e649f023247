"""The vision calls that typed PDFs save, the accuracy of their text, and the time for it."""

import resource
import statistics

from testkit.inputs.typed_pdfs import TypedDocument, typed_class
from worker.documents.decoder import decoding
from worker.documents.page import Page

DOCUMENTS, SEED = 30, 1
PAGE_LIMIT_SECONDS = 60.0


def measure(documents: int = DOCUMENTS) -> dict[str, float]:
    """Read a class of typed PDFs, of which every third has a picture. The times are medians of a document's time per page."""
    work = typed_class(documents, SEED)
    typed, plain = [_read(each, takes_own_text=True) for each in work], [_read(each, takes_own_text=False) for each in work]
    texts = [page.text for pages, _ in typed for page in pages]
    written = [text for each in work for text in each.texts]
    taken = sum(text is not None for text in texts)
    return {
        "documents": len(work),
        "pages": len(texts),
        "pages_without_picture": sum(text is not None for text in written),
        "calls_saved_percent": round(100 * taken / len(texts), 1),
        "documents_without_call": sum(all(page.text is not None for page in pages) for pages, _ in typed),
        "wrong_texts": sum(text not in {None, meant} for text, meant in zip(texts, written, strict=True)),
        "cpu_ms_per_page": _median_ms(typed),
        "cpu_ms_per_page_without_own_text": _median_ms(plain),
    }


def _read(work: TypedDocument, *, takes_own_text: bool) -> tuple[list[Page], float]:
    """Return the pages, and the child's processor time per page."""
    before_seconds = _child_seconds()
    with decoding(
        lambda: work.content, len(work.texts), page_seconds=PAGE_LIMIT_SECONDS, takes_own_text=takes_own_text
    ) as document:
        pages = list(document)
    return pages, (_child_seconds() - before_seconds) / len(pages)


def _child_seconds() -> float:
    """Return the processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _median_ms(readings: list[tuple[list[Page], float]]) -> float:
    return round(1000 * statistics.median(seconds for _, seconds in readings), 1)
