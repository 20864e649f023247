"""Reads and decodes a document in a child of the worker, so that a decoder that crashes or never ends costs only the document.

No time-out ends a system call that waits for a network disk. In the child such a call costs the attempt, and not the worker.
"""

import os
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain, islice
from typing import BinaryIO

from worker.core.errors import VisionTransientError
from worker.core.file_refusals import REASONS, FileDamaged, FileRefused, FileTooLarge
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents.errors import LOCAL_ERRORS, FileTimeout, FileUnavailable
from worker.documents.missing import missing_page
from worker.documents.page import MAX_HEAD_BYTES, Document, Note, Page
from worker.documents.pages import open_document
from worker.documents.sandbox import CPU_SECONDS, Sandbox, allow_cpu, sandboxed

READ_SECONDS = 8.0  # for one file, as for a download. The deadline for reading includes it
PAGE_SECONDS = 9.0  # waiting time for a page, opening included: on a half-busy machine CPU_SECONDS end first
BUSY_SECONDS = 2.5  # of processor time: a page that needs so much is at fault itself if it is late
RETRY_SECONDS = 5.0  # in addition to PAGE_SECONDS for another child
LEAST_SECONDS = 0.5  # for another child. An ordinary page takes 0.1
MAX_CHILDREN = 9  # for a document, two for each page that a child died of
MAX_PAGE_BYTES = 16 * 2**20 + MAX_HEAD_BYTES  # a picture of the largest size, filled with noise, takes 5 MB as JPEG
SMALLER_SIDE_PIXELS = 1120  # half of the picture's tokens, and letters of a written page stay legible
_HEADER = struct.Struct("!cI")  # kind, size in bytes
_FILE, _NO_FILE, _TOTAL, _PAGE, _ERROR = b"F", b"U", b"T", b"P", b"R"
_MAX_SHORT_BYTES = 32  # a size or an error code
_READ_BYTES = 2**20
Start = Callable[[int, bool], Sandbox]  # page, with form fields
_DOCUMENT_FAULTS = frozenset(  # exit codes, negative for a signal
    {0}  # a normal exit before the last page: a broken protocol
    | {-s for s in (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS, signal.SIGTRAP, signal.SIGFPE, signal.SIGSYS)}
)


class DecoderFailed(VisionTransientError):
    """The decoder's child was killed, took too long, or could not be started."""


class _ChildDied(Exception):
    """The child ended because of the document. Another one may decode other pages."""

    def __init__(self, refusal: FileRefused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


@contextmanager
def decoding(
    read: Callable[[], bytes],
    max_pages: int,
    first_page: int = 1,
    page_seconds: float = PAGE_SECONDS,
    max_side_pixels: int = MAX_SIDE_PIXELS,
    *,
    cuts_long_pages: bool = True,
    takes_own_text: bool = False,
) -> Iterator["Decoding"]:
    """Read a file and decode its pages from `first_page` (counted from 1) on, in a child that ends with the block.

    With `takes_own_text` a page of a PDF has its own text where that is sound.

    Raises, also while the pages are iterated:
    FileRefused if `read` raises it or the document cannot be read.
    FileUnavailable if `read` raises it or takes longer than READ_SECONDS (FileTimeout).
    DecoderFailed if a page took longer than `page_seconds`, if the child was killed, or if no child could be started.
    """
    opened = partial(
        open_document,
        max_pages=max_pages,
        max_side_pixels=max_side_pixels,
        cuts_long_pages=cuts_long_pages,
        takes_own_text=takes_own_text,
    )
    with ExitStack() as stack:

        def start(number: int, with_forms: bool) -> Sandbox:
            opened_there = partial(opened, first_page=number, with_forms=with_forms)
            return stack.enter_context(sandboxed(partial(_send_document, read, opened_there)))

        child = _started(start, first_page)
        max_page_bytes = max(MAX_PAGE_BYTES, _file_bytes(child))
        yield Decoding(child, max_pages, first_page, max_page_bytes, page_seconds, start if max_pages > 1 else None)


def smaller(picture: bytes) -> bytes:
    """Decode a page again with shorter sides, in a child as before. Raises as `decoding` does."""
    with decoding(lambda: picture, max_pages=1, max_side_pixels=SMALLER_SIDE_PIXELS) as document:
        return next(iter(document)).picture


def _started(start: Start, number: int, with_forms: bool = True) -> Sandbox:
    try:
        return start(number, with_forms)
    except OSError as error:
        raise DecoderFailed(f"no decoder: {type(error).__name__}") from None


def _file_bytes(child: Sandbox, seconds: float = READ_SECONDS) -> int:
    """Wait until the child has read the file, and return the size. Nothing was decoded until then, so the child is trusted."""
    return int.from_bytes(_Frames(child, seconds, FileTimeout).read(_FILE, _MAX_SHORT_BYTES), "big")


class Decoding:
    """Pages of a document, to be iterated once.

    `total` counts those before `first_page` too, and `continued` is true for each of them that continues the page before it.

    The first page is there when this object is, so an unreadable document raises before a model is called.

    A child may die of a page, by a crash or for lack of processor time or memory. If time is left, another child made by `start`
    decodes the page again without form fields, because a small file may have millions of them. Otherwise the page is missing,
    and another child goes on after it. After MAX_CHILDREN all further pages are missing.
    """

    def __init__(
        self,
        child: Sandbox,
        max_pages: int,
        first_page: int,
        max_page_bytes: int,
        page_seconds: float,
        start: Start | None = None,
    ) -> None:
        self._max_pages, self._max_page_bytes, self._page_seconds, self._start = max_pages, max_page_bytes, page_seconds, start
        self._left_children = MAX_CHILDREN - 1
        self._lost: FileRefused | None = None  # the reason if the child has died
        self._frames = _Frames(child, page_seconds, DecoderFailed)
        self._allow()
        self.continued = self._opened(first_page)
        self.total = len(self.continued)
        pages = self._pages(first_page)
        self._iterator = chain(list(islice(pages, 1)), pages)

    def __iter__(self) -> Iterator[Page]:
        return self._iterator

    def _opened(self, first_page: int) -> tuple[bool, ...]:
        """Return for each page whether it continues the page before.

        A child that dies before it sends this has died of the document and not of a page.
        """
        try:
            return self._read_continued()
        except _ChildDied as died:
            refusal = died.refusal
        try:
            return self._restart(first_page, refusal, with_forms=False)
        except (_ChildDied, DecoderFailed):
            raise refusal from None

    def _pages(self, first_page: int) -> Iterator[Page]:
        is_any_there = first_page > 1
        for number in range(first_page, self.total + 1):
            page = self._page(number)
            is_any_there |= Note.PAGE_MISSING not in page.notes
            if number == self.total and not is_any_there:
                raise REASONS.get(page.reason, FileDamaged)("no page can be decoded")
            yield page
            self._allow()

    def _page(self, number: int) -> Page:
        try:
            if self._lost:
                self._restart(number, self._lost, with_forms=True)
            return self._read_page()
        except _ChildDied as died:
            refusal = died.refusal
        try:
            self._restart(number, refusal, with_forms=False)
            return self._read_page()
        except (_ChildDied, DecoderFailed):
            self._lost = refusal
            return missing_page(refusal)

    def _restart(self, number: int, refusal: FileRefused, with_forms: bool) -> tuple[bool, ...]:
        """Let another child open the document, to decode from page `number` on. The last one died for this reason."""
        if self._start is None:
            raise refusal
        seconds = self._until_seconds - time.monotonic()
        if not self._left_children or seconds < LEAST_SECONDS:
            raise _ChildDied(refusal)
        self._left_children -= 1
        child = _started(self._start, number, with_forms)
        _file_bytes(child, min(READ_SECONDS, seconds))
        self._frames = _Frames(child, min(self._page_seconds, seconds), DecoderFailed)
        continued = self._read_continued()
        self._lost = None
        return continued

    def _allow(self) -> None:
        """Begin the time for a page. The time between two pages does not count."""
        self._until_seconds = time.monotonic() + self._page_seconds + RETRY_SECONDS
        self._frames.allow(self._page_seconds)

    def _read_continued(self) -> tuple[bool, ...]:
        flags = self._frames.read(_TOTAL, max(self._max_pages, _MAX_SHORT_BYTES))
        if not 1 <= len(flags) <= self._max_pages or flags[0]:
            raise FileDamaged("impossible pages")
        return tuple(map(bool, flags))

    def _read_page(self) -> Page:
        return _page(self._frames.read(_PAGE, self._max_page_bytes))


class _Frames:
    """Messages of a child. It is not trusted: every length is bounded, and an invalid message raises FileDamaged."""

    def __init__(self, child: Sandbox, seconds: float, late: type[VisionTransientError]) -> None:
        self._child, self._late, self._readable = child, late, select.poll()
        self._readable.register(child.fd, select.POLLIN)
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        self._until_seconds = time.monotonic() + seconds
        self._used_seconds = self._child.cpu_seconds()

    def left_seconds(self) -> float:
        return self._until_seconds - time.monotonic()

    def read(self, wanted: bytes, max_bytes: int) -> bytes:
        kind, size_bytes = _HEADER.unpack(self._read_exactly(_HEADER.size))
        if size_bytes > max_bytes:
            raise FileDamaged("frame too long")
        payload = self._read_exactly(size_bytes)
        if kind == _ERROR:
            raise _error_for_reason(payload)
        if kind == _NO_FILE and wanted == _FILE:
            raise LOCAL_ERRORS.get(payload.decode("ascii", "replace"), FileUnavailable)("the file cannot be read")
        if kind != wanted:
            raise FileDamaged("frame of the wrong kind")
        return payload

    def _read_exactly(self, size_bytes: int) -> bytes:
        content = bytearray()
        while len(content) < size_bytes:
            if not self._readable.poll(max(0.0, self.left_seconds()) * 1000):
                raise self._lateness()
            piece = os.read(self._child.fd, min(size_bytes - len(content), _READ_BYTES))
            if not piece:
                raise _error_for_exit(self._child.end(), self._child.is_short_of_memory)
            content += piece
        return bytes(content)

    def _lateness(self) -> Exception:
        """The document is at fault if the child computed in the time, as on a busy machine before CPU_SECONDS end it."""
        if self._late is DecoderFailed and self._child.cpu_seconds() - self._used_seconds > BUSY_SECONDS:
            self._child.end()
            return _ChildDied(FileTooLarge("decoding needs too much processor time"))
        return self._late("reading or decoding took too long")


def _error_for_exit(exit_code: int, is_short_of_memory: bool) -> "_ChildDied | VisionTransientError":
    """Return the error for a child that ended before the last page. `exit_code` is negative for a signal.

    SIGKILL, a stop and a bug of the product are transient, because the document is not the cause. The kernel's OOM killer may
    have chosen the child for the memory of another process.
    """
    if exit_code == -signal.SIGXCPU:
        return _ChildDied(FileTooLarge("decoding needs too much processor time"))
    if exit_code in _DOCUMENT_FAULTS and is_short_of_memory:  # pdfium aborts if it gets no memory
        return _ChildDied(FileTooLarge("decoding needs too much memory"))
    if exit_code in _DOCUMENT_FAULTS:
        return _ChildDied(FileDamaged(f"the decoder ended with {exit_code}"))
    return DecoderFailed(f"the decoder ended with {exit_code}")


def _error_for_reason(payload: bytes) -> FileRefused:
    refusal = REASONS.get(payload.decode("ascii", "replace"))
    return refusal("rejected by the decoder") if refusal else FileDamaged("error frame without a known reason")


def _page(payload: bytes) -> Page:
    try:
        return Page.from_bytes(payload)
    except ValueError:
        raise FileDamaged("page frame with a broken head") from None


# In the child


def _send_document(read: Callable[[], bytes], opened: Callable[[bytes], Document], fd: int) -> None:
    """Render pages until the pipe is full, which is mostly one page ahead of the one that the model reads.

    Before them, a byte for each page is sent: 1 if it continues the page before.
    """
    with os.fdopen(fd, "wb") as pipe:
        try:
            content = read()
            _send(pipe, _FILE, len(content).to_bytes(8, "big"))
            document = opened(content)
            _send(pipe, _TOTAL, bytes(document.continued))
            for page in document.pages:
                _send(pipe, _PAGE, page.to_bytes())
                allow_cpu(CPU_SECONDS)
        except VisionTransientError as error:  # of `read`
            _send(pipe, _NO_FILE, type(error).__name__.encode())
        except FileRefused as error:
            _send(pipe, _ERROR, error.reason.encode())


def _send(pipe: BinaryIO, kind: bytes, payload: bytes) -> None:
    pipe.write(_HEADER.pack(kind, len(payload)))
    pipe.write(payload)
    pipe.flush()
