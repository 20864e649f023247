"""Decodes a document in a child of the worker: a decoder that crashes or never ends costs the document, not the worker."""

import functools
import os
import select
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import BinaryIO

from worker.core.errors import VisionPermanentError, VisionTransientError
from worker.documents.pages import opened
from worker.documents.sandbox import CPU_SECONDS, Sandbox, allow_cpu, sandboxed
from worker.ipc.contract import ErrorCode

PAGE_SECONDS = 9.0  # of waiting, the opening included: a machine half busy still spends CPU_SECONDS before
MAX_PAGE_BYTES = 16 * 2**20  # noise in a picture of the largest size takes 5 MB as JPEG
_HEADER = struct.Struct("!cI")  # kind, size in bytes
_TOTAL, _PAGE, _REFUSED = b"T", b"P", b"R"
_MAX_WORD_BYTES = 32  # a total or an error code
_READ_BYTES = 2**20
_DECODERS_FAULTS = frozenset(
    {0}  # ended without having said all: a broken protocol
    | {-s for s in (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS, signal.SIGTRAP, signal.SIGFPE, signal.SIGSYS)}
)


@contextmanager
def decoding(
    content: bytes, mime_type: str, max_pages: int, first_page: int = 1, page_seconds: float = PAGE_SECONDS
) -> Iterator["Decoding"]:
    """The document's pages from `first_page` (counted from 1) on, decoded in a child that ends with the block.

    Raises, also while the pages are iterated, VisionPermanentError with the input code of a document that cannot be read, and
    VisionTransientError where the machine was too busy: a page took longer than `page_seconds`, or the child was killed.
    """
    work = functools.partial(_send_document, content, mime_type, max_pages, first_page)
    with ExitStack() as stack:
        try:
            child = stack.enter_context(sandboxed(work))
        except OSError as error:
            raise VisionTransientError(f"no decoder: {type(error).__name__}") from None
        yield Decoding(child, max_pages, first_page, max(MAX_PAGE_BYTES, len(content)), page_seconds)


class Decoding:
    """`total` pages of a document, of which those from `first_page` on can be iterated once: JPEG or PNG bytes, one per page.

    What the child sends is a claim: every length is bounded, and what does not fit ends as input_corrupt.
    """

    def __init__(self, child: Sandbox, max_pages: int, first_page: int, max_page_bytes: int, page_seconds: float) -> None:
        self._child, self._first_page = child, first_page
        self._max_page_bytes, self._page_seconds = max_page_bytes, page_seconds
        self._readable = select.poll()
        self._readable.register(child.fd, select.POLLIN)
        self._until_seconds = time.monotonic() + page_seconds
        self.total = int.from_bytes(self._payload(_TOTAL, _MAX_WORD_BYTES), "big")
        if not 1 <= self.total <= max_pages:
            raise _corrupt("a total that cannot be")

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._first_page, self.total + 1):
            yield self._payload(_PAGE, self._max_page_bytes)
            self._until_seconds = time.monotonic() + self._page_seconds  # the reader's own time does not count

    def _payload(self, wanted: bytes, max_bytes: int) -> bytes:
        kind, size_bytes = _HEADER.unpack(self._exactly(_HEADER.size))
        if size_bytes > max_bytes:
            raise _corrupt("a frame that is too long")
        payload = self._exactly(size_bytes)
        if kind == _REFUSED:
            raise _refusal(payload)
        if kind != wanted:
            raise _corrupt("a frame of the wrong kind")
        return payload

    def _exactly(self, size_bytes: int) -> bytes:
        content = bytearray()
        while len(content) < size_bytes:
            if not self._readable.poll(max(0.0, self._until_seconds - time.monotonic()) * 1000):
                raise VisionTransientError("decoding took too long")
            piece = os.read(self._child.fd, min(size_bytes - len(content), _READ_BYTES))
            if not piece:
                raise _verdict(self._child.end())
            content += piece
        return bytes(content)


def _verdict(exit_code: int) -> VisionPermanentError | VisionTransientError:
    """What the end of a child that has not said all means; `exit_code` is negative for a signal.

    SIGKILL, a stop or a bug of ours is not the pupil's fault: the kernel's OOM killer may have meant somebody else.
    """
    if exit_code == -signal.SIGXCPU:
        return VisionPermanentError("decoding takes too much processor time", ErrorCode.INPUT_TOO_LARGE)
    if exit_code in _DECODERS_FAULTS:
        return _corrupt(f"the decoder ended with {exit_code}")
    return VisionTransientError(f"the decoder ended with {exit_code}")


def _refusal(payload: bytes) -> VisionPermanentError:
    try:
        return VisionPermanentError("refused by the decoder", ErrorCode(payload.decode()))
    except ValueError:
        return _corrupt("a refusal without a code")


def _corrupt(message: str) -> VisionPermanentError:
    return VisionPermanentError(message, ErrorCode.INPUT_CORRUPT)


# In the child


def _send_document(content: bytes, mime_type: str, max_pages: int, first_page: int, fd: int) -> None:
    """Renders on while the pipe takes it: mostly one page ahead of the one that the model reads.

    The first page comes before the total is told: what cannot be read is refused before anybody waits for the model.
    """
    with os.fdopen(fd, "wb") as pipe:
        try:
            document = opened(content, mime_type, max_pages, first_page)
            first = list(islice(document.pages, 1))
            _send(pipe, _TOTAL, document.total.to_bytes(4, "big"))
            for page in chain(first, document.pages):
                _send(pipe, _PAGE, page)
                allow_cpu(CPU_SECONDS)
        except VisionPermanentError as refusal:
            _send(pipe, _REFUSED, (refusal.error_code or ErrorCode.INPUT_CORRUPT).encode())


def _send(pipe: BinaryIO, kind: bytes, payload: bytes) -> None:
    pipe.write(_HEADER.pack(kind, len(payload)))
    pipe.write(payload)
    pipe.flush()
