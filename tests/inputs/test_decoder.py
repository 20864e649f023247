"""The decoder's child: the result for the document, and the worker's safety, when decoding fails. Every child is a real fork."""

import ctypes
import gc
import itertools
import mmap
import os
import resource
import select
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from types import FrameType

import psutil
import pytest
from PIL import Image

from testkit.inputs.files import ENCRYPTED, encoded, noise, pdf, read
from tests.inputs.alarm import alarmed
from tests.inputs.file_notes import file_notes
from tests.tiers import in_two_tiers
from worker.core.errors import VisionPermanentError, VisionTransientError
from worker.core.file_refusals import REASONS, FileDamaged, FileTooLarge
from worker.documents import decoder, pages, sandbox
from worker.documents.decoder import DecoderFailed, Decoding, _file_bytes, _send_document
from worker.documents.decoder import decoding as in_a_child
from worker.documents.page import Note, Page
from worker.documents.pages import open_document
from worker.documents.pdf import source as pdf_source
from worker.documents.pdf.source import Pdf
from worker.documents.pictures.source import Pictures
from worker.documents.sandbox import allow_cpu, sandboxed
from worker.ipc.contract import ErrorCode

MAX_PAGES = 20
FAR_SECONDS = 30.0
MEBIBYTE = 2**20

Work = Callable[[int], object]


def decoding(
    content: bytes, max_pages: int, first_page: int = 1, page_seconds: float = FAR_SECONDS
) -> AbstractContextManager[Decoding]:
    """Decode with a time that does not fail on a busy machine."""
    return in_a_child(lambda: content, max_pages, first_page, page_seconds)


def pages_of(work: Work, memory_bytes: int = sandbox.MEMORY_BYTES, page_seconds: float = FAR_SECONDS) -> list[Page]:
    """Return what the worker reads from a child that runs `work` in place of decoding."""
    with sandboxed(work, memory_bytes) as child:
        return list(Decoding(child, MAX_PAGES, 1, MEBIBYTE, page_seconds))


def code_of(work: Work, page_seconds: float = FAR_SECONDS) -> ErrorCode | None:
    with pytest.raises(VisionPermanentError) as refused:
        pages_of(work, page_seconds=page_seconds)
    return refused.value.error_code


def refusal_of(content: bytes) -> ErrorCode | None:
    """Return the code of a document that is rejected before a page is requested."""
    with pytest.raises(VisionPermanentError) as refused, decoding(content, MAX_PAGES):
        pass
    return refused.value.error_code


def answer_of(work: Callable[[], object], memory_bytes: int = sandbox.MEMORY_BYTES) -> bytes:
    """Return the result of `work` in the child, sent as its only page."""

    def send_answer(fd: int) -> None:
        os.write(fd, frame(b"T", total(1)) + frame(b"P", Page(str(work()).encode()).to_bytes()))

    return pages_of(send_answer, memory_bytes)[0].picture


def frame(kind: bytes, payload: bytes, size: int | None = None) -> bytes:
    return kind + struct.pack("!I", len(payload) if size is None else size) + payload


def total(pages: int) -> bytes:
    """The flags of pages of which none continues the page before it."""
    return bytes(pages)


def children() -> list[psutil.Process]:
    """Return all children, zombies included."""
    return psutil.Process().children()


def descriptors() -> list[Path]:
    """Return all descriptors, that of the listing included, which is closed by then."""
    return sorted(Path("/proc/self/fd").iterdir())


@contextmanager
def handled(number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture(scope="module", autouse=True)
def _swept() -> None:
    """Collect garbage of earlier tests, whose finalizers could close descriptors in the middle of a test."""
    gc.collect()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Every test also proves that no process, zombie or descriptor of its own is left, and ends if it waits without end.

    Other children of the test run, such as a model server, may exist.
    """
    before, others = descriptors(), set(children())
    with alarmed():
        yield
    assert set(children()) <= others
    assert descriptors() == before


# Reading


@pytest.mark.parametrize("reason", REASONS)
def test_a_file_that_cannot_be_accepted_keeps_its_reason(reason: str) -> None:
    """The file is read in the child, and the reader's error arrives in the worker."""
    with pytest.raises(REASONS[reason]) as refused, in_a_child(raising(REASONS[reason]()), 1):
        pass
    assert refused.value.error_code is REASONS[reason].code


@pytest.mark.parametrize("error", [VisionTransientError("no file yet"), MemoryError()])
def test_a_file_that_cannot_be_read_is_worth_another_try(error: Exception) -> None:
    """Neither a missing file nor a child without memory is the document's fault."""
    with pytest.raises(VisionTransientError), in_a_child(raising(error), 1):
        pass


def raising(error: Exception) -> Callable[[], bytes]:
    def read() -> bytes:
        raise error

    return read


def test_a_picture_is_one_page() -> None:
    """A page comes whole through the pipe, however large it is."""
    content = encoded(noise(1200, 1200), "PNG")
    with decoding(content, MAX_PAGES) as document:
        assert (document.total, list(document)) == (1, list(open_document(content, MAX_PAGES).pages))


@pytest.mark.parametrize(("first_page", "pages"), [(1, 5), (4, 2), (5, 1), (6, 0)])
def test_a_pdf_is_read_from_the_first_wanted_page(first_page: int, pages: int) -> None:
    """`total` counts all pages. Pages before the first wanted one are not rendered, and after the last one nothing comes."""
    with decoding(pdf(5), MAX_PAGES, first_page) as document:
        assert document.total == 5
        assert [read(page.picture).size for page in document] == [(1131, 1600)] * pages


def test_the_next_page_is_rendered_while_one_is_read() -> None:
    """The pipe has data before the next page is requested."""
    with decoding(pdf(2), MAX_PAGES) as document:
        rest = iter(document)
        next(rest)
        assert document._frames._readable.poll(FAR_SECONDS * 1000)
        assert len(list(rest)) == 1


def test_the_time_of_the_reader_does_not_count() -> None:
    """A model that takes longer over a page than decoding may does not make the next page late."""
    with decoding(pdf(2), MAX_PAGES, page_seconds=FAR_SECONDS) as document:
        rest = iter(document)
        next(rest)
        document._frames._until_seconds = time.monotonic()  # as if the model had taken all of it
        assert len(list(rest)) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "file_empty"),
        (b"\xff\xd8\xff" + b"\xaa" * 500, "file_damaged"),
        (b"%PDF-1.7", "file_damaged"),
        (b"PK\x03\x04", "not_a_document"),
        (pdf(trailer=ENCRYPTED), "document_locked"),
        (pdf(21), "too_many_pages"),
    ],
    ids=["no bytes", "JPEG", "PDF", "archive", "locked PDF", "21 pages"],
)
@pytest.mark.parametrize("max_pages", [1, MAX_PAGES])
def test_a_refusal_has_its_reason(content: bytes, reason: str, max_pages: int) -> None:
    """The worker raises the reason that the child has found, however few pages it expects."""
    with pytest.raises(REASONS[reason]), decoding(content, max_pages):
        pass


def test_a_later_page_that_fails_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other pages of the document are read, and the page in between has no picture, an empty text and its reason."""
    whole = Pdf.picture
    monkeypatch.setattr(Pdf, "picture", lambda pdf, index, size: 1 / 0 if index == 1 else whole(pdf, index, size))
    with decoding(pdf(3), MAX_PAGES) as document:
        first, bad, last = document
    assert read(first.picture).size == read(last.picture).size
    assert bad == Page(b"", (Note.PAGE_MISSING,), "", "file_damaged")


@pytest.mark.parametrize("first_page", [1, 2])
def test_a_document_whose_pages_all_fail_is_refused(monkeypatch: pytest.MonkeyPatch, first_page: int) -> None:
    """It has the reason of the first page, unless an earlier page was read before."""
    monkeypatch.setattr(Pdf, "picture", lambda _pdf, _index, _size: 1 / 0)
    if first_page == 1:
        assert refusal_of(pdf(3)) is ErrorCode.INPUT_CORRUPT
        return
    with decoding(pdf(3), MAX_PAGES, first_page) as document:
        assert [page.notes for page in document] == [(Note.PAGE_MISSING,)] * 2


# A child that dies of a page


def deadly(monkeypatch: pytest.MonkeyPatch, die: Callable[[], object], *deadly_indexes: int) -> None:
    """Let the decoder die of some pages, whatever child decodes them."""
    whole = Pdf.picture
    monkeypatch.setattr(Pdf, "picture", lambda pdf, index, size: die() if index in deadly_indexes else whole(pdf, index, size))


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def compute() -> None:
    allow_cpu(1)
    while True:
        pass


@pytest.mark.parametrize(("die", "reason"), [(crash, "file_damaged"), (compute, "file_too_large")])
def test_a_page_that_kills_the_decoder_is_missing(
    monkeypatch: pytest.MonkeyPatch, die: Callable[[], object], reason: str
) -> None:
    """The next child goes on after it: the pages before and behind are whole."""
    deadly(monkeypatch, die, 1, 3)
    with decoding(pdf(5), MAX_PAGES) as document:
        seen = [(bool(page.picture), page.reason) for page in document]
    assert seen == [(True, ""), (False, reason), (True, ""), (False, reason), (True, "")]


def test_a_first_page_that_kills_the_decoder_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is not refused for its first page."""
    deadly(monkeypatch, crash, 0)
    with decoding(pdf(2), MAX_PAGES) as document:
        assert [page.reason for page in document] == ["file_damaged", ""]


@pytest.mark.parametrize("pages", [1, 3])
def test_a_document_that_kills_the_decoder_with_each_page_is_refused(monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
    """No page is there, so the document has the reason of its pages."""
    deadly(monkeypatch, crash, *range(pages))
    with pytest.raises(FileDamaged), decoding(pdf(pages), MAX_PAGES) as document:
        list(document)


def test_a_document_has_a_limited_number_of_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last child the other pages are missing, with the reason of the last one that was tried."""
    started, forked = itertools.count(1), os.fork
    monkeypatch.setattr(os, "fork", lambda: next(started) and forked())
    deadly(monkeypatch, crash, *range(1, 15))
    with decoding(pdf(20), MAX_PAGES) as document:
        seen = [page.reason for page in document]
    assert seen == ["", *["file_damaged"] * 19]
    assert next(started) == decoder.MAX_CHILDREN + 1


def test_a_form_that_kills_the_decoder_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same page is decoded again without form fields, and the note tells that they are missing."""
    monkeypatch.setattr(pdf_source, "_init_forms", lambda _document: crash())
    with decoding(pdf(2, has_field=True), MAX_PAGES) as document:
        assert [(bool(page.picture), file_notes(page)) for page in document] == [(True, (Note.ANNOTATION_MISSING,))] * 2


def test_a_late_child_that_computes_is_the_documents_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the time is over before the processor time is. A child that only waits is the machine's fault."""
    monkeypatch.setattr(decoder, "BUSY_SECONDS", 0.05)
    assert code_of(busy, 0.5) is ErrorCode.INPUT_TOO_LARGE
    with pytest.raises(DecoderFailed):
        code_of(lambda _fd: signal.pause(), 0.5)


def busy(_fd: int) -> None:
    while True:
        pass


def test_a_crash_for_lack_of_memory_is_too_large() -> None:
    """pdfium aborts if it gets no memory. A crash of a small child is damage."""

    def abort_with(size_bytes: int) -> Work:
        def work(_fd: int) -> None:
            content = b"x" * size_bytes
            os.kill(os.getpid(), signal.SIGABRT + 0 * len(content))

        return work

    assert code_of(abort_with(sandbox.MEMORY_BYTES // 2)) is ErrorCode.INPUT_TOO_LARGE
    assert code_of(abort_with(MEBIBYTE)) is ErrorCode.INPUT_CORRUPT


# Ends of a child


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGILL", "SIGBUS", "SIGTRAP", "SIGFPE", "SIGSYS"])
def test_a_decoder_that_crashes_costs_the_document(name: str) -> None:
    """The crash is the fault of the file."""
    assert code_of(lambda _fd: os.kill(os.getpid(), signal.Signals[name])) is ErrorCode.INPUT_CORRUPT


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_a_killed_decoder_is_worth_another_try(name: str) -> None:
    """The kernel's OOM killer and a stop are no sign of a fault in the file."""
    with pytest.raises(VisionTransientError):
        pages_of(lambda _fd: os.kill(os.getpid(), signal.Signals[name]))


def test_a_bug_of_ours_is_worth_another_try() -> None:
    """An exception outside the decoding is transient, because a new version may fix it."""
    with pytest.raises(VisionTransientError):
        pages_of(lambda _fd: 1 / 0)


def test_a_decoder_killed_between_two_pages_is_noticed() -> None:
    """A page that was read stays valid, and the next one raises."""
    with decoding(pdf(9), MAX_PAGES) as document:
        rest = iter(document)
        next(rest)
        os.kill(document._frames._child.pid, signal.SIGKILL)
        with pytest.raises(VisionTransientError):
            list(rest)


def test_no_more_memory_than_allowed() -> None:
    """RLIMIT_DATA is counted from the worker's size. The test maps memory, as freed memory of the worker may be used again."""

    def sizes_refused() -> list[int]:
        refused = []
        for size_mebibytes in (20, 80):
            try:
                mmap.mmap(-1, size_mebibytes * MEBIBYTE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
            except OSError:
                refused.append(size_mebibytes)
        return refused

    assert answer_of(sizes_refused, 64 * MEBIBYTE) == b"[80]"


def test_a_bomb_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that needs more memory than the child has is rejected as too large."""
    monkeypatch.setattr(Pictures, "picture", lambda _pictures, _index, _size: bytes(2 * sandbox.MEMORY_BYTES))
    assert refusal_of(encoded(noise(4, 4), "PNG")) is ErrorCode.INPUT_TOO_LARGE


@pytest.mark.parametrize("mode", in_two_tiers(["RGB", "RGBA", "LA", "I;16", "P", "CMYK"], {"RGB", "RGBA"}))
def test_the_largest_picture_fits_into_the_memory(mode: str) -> None:
    """In every mode a picture of just under 40 million pixels decodes with the real limits of a child."""
    content = encoded(Image.new(mode, (6600, 6060)), "JPEG" if mode == "CMYK" else "PNG")
    with decoding(content, MAX_PAGES, page_seconds=FAR_SECONDS) as document:
        assert [max(read(page.picture).size) for page in document] == [1600]


def test_an_endless_decoder_runs_out_of_processor_time() -> None:
    """SIGXCPU ends it. The document is at fault, because the time is the child's own."""

    def loop(_fd: int) -> None:
        allow_cpu(1)
        while True:
            pass

    assert code_of(loop) is ErrorCode.INPUT_TOO_LARGE


def test_each_page_has_its_own_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is set before the first page and moves with each page, so a long document is not too slow."""
    used_seconds = itertools.count(0, 100)
    monkeypatch.setattr(time, "process_time", lambda: next(used_seconds))
    limit = resource.getrlimit
    monkeypatch.setattr(pages, "_jpeg", lambda _image: b"%d" % limit(resource.RLIMIT_CPU)[0])
    with decoding(pdf(3), MAX_PAGES) as document:
        assert [page.picture for page in document] == [b"%d" % (sandbox.CPU_SECONDS + seconds) for seconds in (0, 100, 200)]


def test_a_large_photo_is_decoded_at_reduced_size() -> None:
    """The JPEG decoder reduces 24 megapixels while it reads, so they fit into little memory."""
    content = encoded(Image.new("RGB", (6000, 4000)), "JPEG")
    with sandboxed(partial(_send_document, lambda: content, partial(open_document, max_pages=1)), 64 * MEBIBYTE) as child:
        assert _file_bytes(child) == len(content)
        assert len(list(Decoding(child, 1, 1, MEBIBYTE, FAR_SECONDS))) == 1


def test_a_silent_decoder_is_given_up() -> None:
    """Wall-clock time may be lost to a busy machine, so this is transient, and the child is ended."""
    with sandboxed(lambda _fd: signal.pause()) as child, pytest.raises(VisionTransientError):
        Decoding(child, MAX_PAGES, 1, MEBIBYTE, page_seconds=0.0)


@pytest.mark.parametrize("count", [80, pytest.param(1_000, marks=pytest.mark.second_tier)])
def test_a_page_in_the_instant_of_its_timeout(count: int) -> None:
    """The page is read whole, or the document is worth another try. The SIGXCPU right after it is noticed with the next page."""
    page, found = Page(b"x" * 1000), []
    for number in range(count):
        until_seconds = time.monotonic() + 0.012
        last_half_at_seconds = until_seconds + 0.001 * (2 * number / count - 1)
        with sandboxed(partial(_send_in_halves, page, last_half_at_seconds)) as child:
            found.append(_pages_and_end(child, until_seconds))
    assert set(found) <= {((page,), FileTooLarge), ((), DecoderFailed)}


def _send_in_halves(page: Page, last_half_at_seconds: float, fd: int) -> None:
    sent = frame(b"T", total(2)) + frame(b"P", page.to_bytes())
    os.write(fd, sent[:500])
    time.sleep(max(0.0, last_half_at_seconds - time.monotonic()))
    os.write(fd, sent[500:])
    os.kill(os.getpid(), signal.SIGXCPU)


def _pages_and_end(child: sandbox.Sandbox, until_seconds: float) -> tuple[tuple[Page, ...], type[Exception]]:
    """Read all pages. Return those that came whole, and the error after them."""
    read_pages = []
    with pytest.raises((VisionPermanentError, VisionTransientError)) as ended:  # noqa: PT012
        decoding = Decoding(child, MAX_PAGES, 1, MEBIBYTE, until_seconds - time.monotonic())
        decoding._page_seconds = FAR_SECONDS  # of the second page, which never comes
        for page in decoding:
            read_pages.append(page)
    return tuple(read_pages), type(ended.value)


# Hostile children


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"T",
        frame(b"T", total(1), size=2**32 - 1),
        frame(b"T", total(0)),
        frame(b"T", total(MAX_PAGES + 1)),
        frame(b"T", b"\xff" * 32),
        frame(b"T", b"\x01"),
        frame(b"T", b""),
        frame(b"T", total(MAX_PAGES + 1)) + frame(b"P", b"page") * (MAX_PAGES + 1),
        frame(b"P", b"a page before the total"),
        frame(b"?", b"?"),
        frame(b"R", b"vision_failure"),
        frame(b"R", b"\xff\xfe"),
        frame(b"R", b"x", size=2**20),
        frame(b"T", total(1)) + frame(b"P", b"half", size=100),
        frame(b"T", total(2)) + frame(b"P", b"only one"),
        frame(b"T", total(1)) + frame(b"P", bytes(MEBIBYTE + 1)),
        frame(b"T", total(1)) + frame(b"T", total(1)),
    ],
    ids=lambda answer: repr(answer[:24]),
)
def test_a_broken_protocol_costs_the_document(answer: bytes) -> None:
    """No message of a child makes the worker read more than allowed or raise another error."""
    assert code_of(lambda fd: os.write(fd, answer)) is ErrorCode.INPUT_CORRUPT


def test_a_child_that_closes_its_pipe_and_lives_is_ended() -> None:
    """The worker does not wait for a process that can send nothing more."""

    def linger(fd: int) -> None:
        os.close(fd)
        signal.pause()

    with pytest.raises(VisionTransientError):
        pages_of(linger)


# Limits of a child


def test_a_child_keeps_no_descriptor_but_its_pipe() -> None:
    """Neither connections nor the lifeline stay open in a process that parses files."""
    first, second = socket.socketpair()
    with first, second:
        kept = answer_of(lambda: [fd.stat().st_mode for fd in descriptors() if fd.exists()])
    assert [stat.S_ISFIFO(int(mode)) for mode in kept.decode().strip("[]").split(", ")] == [True]


def test_a_child_does_not_run_the_workers_handlers() -> None:
    """The child has the kernel's default for every signal, whatever the worker handles, ignores or blocks."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGSEGV)
    with handled(signal.SIGTERM, lambda *_: None):
        answer = answer_of(lambda: ([signal.getsignal(n).name for n in numbers], signal.pthread_sigmask(signal.SIG_BLOCK, [])))  # type: ignore[union-attr]
    assert answer == b"(['SIG_DFL', 'SIG_DFL', 'SIG_DFL', 'SIG_DFL'], set())"


def test_a_child_finalizes_nothing_of_the_workers() -> None:
    """An uncollected object of the worker could close a descriptor number that the child uses by then."""
    finalized: list[int] = []

    class Circle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            finalized.append(1)

    gc.disable()
    try:
        Circle()
        assert answer_of(lambda: (gc.collect(), finalized)[1]) == b"[]"
    finally:
        gc.enable()
    gc.collect()
    assert finalized == [1]


def test_a_child_leaves_no_core() -> None:
    """Not even a core handler of the system, which ignores RLIMIT_CORE, gets a core, which would hold a pupil's work."""
    get_dumpable = 3
    assert answer_of(lambda: ctypes.CDLL(None).prctl(get_dumpable, 0, 0, 0, 0)) == b"0"


@pytest.mark.parametrize(("kind", "limit"), [("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", 16)])
def test_a_child_has_hard_limits(kind: str, limit: int) -> None:
    """It cannot dump core, write a file or open many files, and it cannot raise these limits."""
    assert answer_of(lambda: resource.getrlimit(getattr(resource, kind))) == str((limit, limit)).encode()


def _process_and_thread() -> str:
    started: list[str] = []
    try:
        os.fork()
        started.append("process")
    except PermissionError:
        pass
    thread = Thread(target=started.append, args=("thread",))
    thread.start()
    thread.join()
    return " ".join(started)


def test_a_child_starts_no_process() -> None:
    """Not even as root, which no limit on processes binds. A thread starts, because the decoder of HEIC needs one."""
    assert answer_of(_process_and_thread) == b"thread"


def test_without_a_filter_a_child_has_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel or processor without the filter of system calls."""
    monkeypatch.setattr(sandbox, "forbid_processes", lambda: False)
    assert answer_of(lambda: resource.getrlimit(resource.RLIMIT_NPROC)) == b"(0, 0)"


def test_a_child_ends_with_its_worker() -> None:
    """A worker that is killed leaves no decoder behind."""
    read_fd, write_fd = os.pipe()
    worker_pid = os.fork()
    if worker_pid == 0:
        try:
            with sandboxed(lambda _fd: signal.pause()) as child:
                os.write(write_fd, struct.pack("!I", child.pid))
                signal.pause()
        finally:
            os._exit(1)
    child_fd = os.pidfd_open(int.from_bytes(os.read(read_fd, 4), "big"))
    os.kill(worker_pid, signal.SIGKILL)
    os.waitpid(worker_pid, 0)
    assert select.select([child_fd], [], [], FAR_SECONDS)[0], "the decoder's child lives on"
    for fd in (read_fd, write_fd, child_fd):
        os.close(fd)


def test_a_stop_does_not_interrupt_the_wait_for_a_page() -> None:
    """The worker's signal handler only remembers, and the wait for a page continues."""
    stops: list[int] = []
    worker_pid = os.getpid()

    def stop_and_answer(fd: int) -> None:
        for _ in range(50):
            os.kill(worker_pid, signal.SIGTERM)
        os.write(fd, frame(b"T", total(1)) + frame(b"P", Page(b"page").to_bytes()))

    with handled(signal.SIGTERM, lambda number, _frame: stops.append(number)):
        assert pages_of(stop_and_answer) == [Page(b"page")]
    assert stops


def test_a_machine_that_cannot_fork_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of memory is not the document's fault, and the pipe is closed again."""

    def refuse() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(VisionTransientError), decoding(b"", MAX_PAGES):
        pass


def test_two_hundred_documents_leave_nothing() -> None:
    """After good, rejected and abandoned documents there is no process, no zombie and no descriptor."""
    picture, document = encoded(noise(8, 8), "PNG"), pdf(3)
    before, others = descriptors(), set(children())
    for _ in range(67):
        with decoding(picture, MAX_PAGES) as whole:
            list(whole)
        assert refusal_of(picture[:40]) is ErrorCode.INPUT_CORRUPT
        with decoding(document, MAX_PAGES) as given_up:
            next(iter(given_up))
    assert set(children()) <= others
    assert descriptors() == before
