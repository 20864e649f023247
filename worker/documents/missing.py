"""Pages that cannot be decoded. They are missing from a document that has other pages, and the document is refused otherwise."""

from collections.abc import Iterator

from worker.core.file_refusals import REASONS, FileDamaged, FileRefused
from worker.documents.page import Note, Page


def missing_page(refusal: FileRefused) -> Page:
    """A page in place of one that cannot be decoded. Its empty text means that no model is asked."""
    return Page(b"", (Note.PAGE_MISSING,), "", refusal.reason)


def refused_if_all_are_missing(pages: Iterator[Page]) -> Iterator[Page]:
    """Hold missing pages back until a page is there. Raise the reason of the first one if none is."""
    held: list[Page] = []
    is_any_there = False
    for page in pages:
        if Note.PAGE_MISSING in page.notes and not is_any_there:
            held.append(page)
            continue
        is_any_there = True
        yield from held
        held.clear()
        yield page
    if held:
        raise REASONS.get(held[0].reason, FileDamaged)("no page can be decoded")
