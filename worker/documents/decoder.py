"""Reads and decodes a document in a child of the worker, so that a decoder that crashes or never ends costs only the document.

No time-out ends a system call that waits for a network disk. In the child such a call costs the attempt, and not the worker.
"""

import functools
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import BinaryIO

from worker.core.errors import VisionTransientError
from worker.core.file_refusals import REASONS, FileDamaged, FileRefused, FileTooLarge
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents.errors import LOCAL_ERRORS, FileTimeout, FileUnavailable
from worker.documents.page import MAX_HEAD_BYTES, Page
from worker.documents.pages import open_document
from worker.documents.sandbox import CPU_SECONDS, Sandbox, allow_cpu, sandboxed

READ_SECONDS = 8.0  # for one file, as for a download. The deadline for reading includes it
PAGE_SECONDS = 9.0  # waiting time for a page, opening included: on a half-busy machine CPU_SECONDS end first
MAX_PAGE_BYTES = 16 * 2**20 + MAX_HEAD_BYTES  # a picture of the largest size, filled with noise, takes 5 MB as JPEG
_HEADER = struct.Struct("!cI")  # kind, size in bytes
_FILE, _NO_FILE, _TOTAL, _PAGE, _ERROR = b"F", b"U", b"T", b"P", b"R"
_MAX_SHORT_BYTES = 32  # a size or an error code
_READ_BYTES = 2**20
_DOCUMENT_FAULTS = frozenset(  # exit codes, negative for a signal
    {0}  # a normal exit before the last page: a broken protocol
    | {-s for s in (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS, signal.SIGTRAP, signal.SIGFPE, signal.SIGSYS)}
)


class DecoderFailed(VisionTransientError):
    """The decoder's child was killed, took too long, or could not be started."""


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
    making = {"cuts_long_pages": cuts_long_pages, "takes_own_text": takes_own_text}
    work = functools.partial(_send_document, read, max_pages, first_page, max_side_pixels, **making)
    with ExitStack() as stack:
        try:
            child = stack.enter_context(sandboxed(work))
        except OSError as error:
            raise DecoderFailed(f"no decoder: {type(error).__name__}") from None
        yield Decoding(child, max_pages, first_page, max(MAX_PAGE_BYTES, _file_bytes(child)), page_seconds)


def _file_bytes(child: Sandbox) -> int:
    """Wait until the child has read the file, and return the size. Nothing was decoded until then, so the child is trusted."""
    return int.from_bytes(_Frames(child, READ_SECONDS, FileTimeout).read(_FILE, _MAX_SHORT_BYTES), "big")


class Decoding:
    """Pages of a document, to be iterated once.

    `total` counts those before `first_page` too, and `continued` is true for each of them that continues the page before it.
    """

    def __init__(self, child: Sandbox, max_pages: int, first_page: int, max_page_bytes: int, page_seconds: float) -> None:
        self._first_page, self._max_page_bytes, self._page_seconds = first_page, max_page_bytes, page_seconds
        self._frames = _Frames(child, page_seconds, DecoderFailed)
        flags = self._frames.read(_TOTAL, max_pages)
        self.total, self.continued = len(flags), tuple(map(bool, flags))
        if not flags or self.continued[0]:
            raise FileDamaged("impossible pages")

    def __iter__(self) -> Iterator[Page]:
        for _ in range(self._first_page, self.total + 1):
            yield _page(self._frames.read(_PAGE, self._max_page_bytes))
            self._frames.allow(self._page_seconds)  # the time between two reads does not count


class _Frames:
    """Messages of a child. It is not trusted: every length is bounded, and an invalid message raises FileDamaged."""

    def __init__(self, child: Sandbox, seconds: float, late: type[VisionTransientError]) -> None:
        self._child, self._late, self._readable = child, late, select.poll()
        self._readable.register(child.fd, select.POLLIN)
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        self._until_seconds = time.monotonic() + seconds

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
            if not self._readable.poll(max(0.0, self._until_seconds - time.monotonic()) * 1000):
                raise self._late("reading or decoding took too long")
            piece = os.read(self._child.fd, min(size_bytes - len(content), _READ_BYTES))
            if not piece:
                raise _error_for_exit(self._child.end())
            content += piece
        return bytes(content)


def _error_for_exit(exit_code: int) -> FileRefused | VisionTransientError:
    """Return the error for a child that ended before the last page. `exit_code` is negative for a signal.

    SIGKILL, a stop and a bug of the product are transient, because the document is not the cause. The kernel's OOM killer may
    have chosen the child for the memory of another process.
    """
    if exit_code == -signal.SIGXCPU:
        return FileTooLarge("decoding needs too much processor time")
    if exit_code in _DOCUMENT_FAULTS:
        return FileDamaged(f"the decoder ended with {exit_code}")
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


def _send_document(
    read: Callable[[], bytes],
    max_pages: int,
    first_page: int,
    max_side_pixels: int,
    fd: int,
    **making: bool,
) -> None:
    """Render pages until the pipe is full, which is mostly one page ahead of the one that the model reads.

    A byte for each page, 1 if it continues the page before, is sent after the first page is rendered. An unreadable document
    therefore raises before a model is called.
    """
    with os.fdopen(fd, "wb") as pipe:
        try:
            content = read()
            _send(pipe, _FILE, len(content).to_bytes(8, "big"))
            document = open_document(content, max_pages, first_page, max_side_pixels, **making)
            first = list(islice(document.pages, 1))
            _send(pipe, _TOTAL, bytes(document.continued))
            for page in chain(first, document.pages):
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
