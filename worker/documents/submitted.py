"""Opens the pages of a submission: those that the web side has rendered, otherwise the original's."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from worker.core.file_refusals import FileRefused, KeyRefused, TooManyPages
from worker.documents.decoder import Decoding, decoding
from worker.documents.errors import RootUnreadable, StoreFileMissing
from worker.documents.missing import missing_page, refused_if_all_are_missing
from worker.documents.page import Page
from worker.documents.storage import Storage, page_keys
from worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class SubmittedPages:
    """`pages` begins with the first wanted page. `continued` is true for each page of all that continues the one before it."""

    continued: Sequence[bool]
    pages: Iterator[Page]


class Submitted:
    """Files of submissions. With `takes_own_text` a page of a PDF has its own text where that is sound."""

    def __init__(self, settings: WorkerSettings, *, takes_own_text: bool) -> None:
        self._storage, self._max_pages, self._takes_own_text = Storage(settings), settings.max_pdf_pages, takes_own_text

    @contextmanager
    def opened(self, submission: Mapping[str, Any], first_page: int) -> Iterator[SubmittedPages]:
        """Open the pages from `first_page` (counted from 1) on. Raises VisionTransientError or VisionPermanentError."""
        keys = page_keys(submission)
        if len(keys) > self._max_pages:
            raise TooManyPages
        with ExitStack() as stack:
            if keys:
                pages = self._rendered_pages(submission, keys, first_page, stack)
                pages = refused_if_all_are_missing(pages) if first_page == 1 else pages
                yield SubmittedPages([False] * len(keys), pages)
            else:
                document = stack.enter_context(self._original(submission, first_page))
                yield SubmittedPages(document.continued, iter(document))

    def _rendered_pages(
        self, submission: Mapping[str, Any], keys: Sequence[str], first_page: int, stack: ExitStack
    ) -> Iterator[Page]:
        """The pages of the web side, up to the first that cannot be read. That one and all after it are the original's."""
        may_have_original = True
        for number in range(first_page, len(keys) + 1):
            try:
                page = self._rendered(keys[number - 1])
            except (FileRefused, StoreFileMissing, RootUnreadable) as error:
                rest = self._original_from(submission, number, len(keys), stack) if may_have_original else None
                may_have_original = False
                if rest is not None:
                    yield from rest
                    return
                if not isinstance(error, FileRefused) or isinstance(error, KeyRefused):
                    raise
                page = missing_page(error)
            yield page

    def _rendered(self, storage_key: str) -> Page:
        """A page of the web side is one page, however long it is, because the web side has counted the pages."""
        with decoding(self._storage.page(storage_key), max_pages=1, cuts_long_pages=False) as document:
            return next(iter(document))

    def _original_from(self, submission: Mapping[str, Any], number: int, total: int, stack: ExitStack) -> Iterator[Page] | None:
        """The original's pages from `number` on, uncut. None if it cannot be read or has not as many pages as were rendered."""
        try:
            document = stack.enter_context(self._original(submission, number, cuts_long_pages=False))
        except (FileRefused, StoreFileMissing):
            return None
        return iter(document) if document.total == total else None

    @contextmanager
    def _original(self, submission: Mapping[str, Any], first_page: int, *, cuts_long_pages: bool = True) -> Iterator[Decoding]:
        read, own_text = self._storage.original(submission), self._takes_own_text
        with decoding(read, self._max_pages, first_page, cuts_long_pages=cuts_long_pages, takes_own_text=own_text) as document:
            yield document
