"""Random documents and answers: each ends in a result or in a known error, and none ends the worker."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.settings.model import parse
from testkit.drawn_pages import pdf_bytes
from testkit.inputs import files, photos
from testkit.inputs.answers import document
from worker.adapters.feedback import FeedbackWriter, build
from worker.core.errors import (
    FeedbackPermanentError,
    FeedbackTransientError,
    Unavailable,
)
from worker.core.file_refusals import REASONS, FileRefused
from worker.documents.decoder import decoding
from worker.documents.page import Note
from worker.ipc.contract import ErrorCode

INPUT_CODES = {ErrorCode.INPUT_CORRUPT, ErrorCode.INPUT_UNSUPPORTED, ErrorCode.INPUT_TOO_LARGE}
TYPES = ("JPEG", "progressive JPEG", "PNG", "interlaced PNG", "WEBP", "AVIF", "HEIF", "TIFF", "LZW TIFF", "GIF", "BMP", "PDF")
EXAMPLES, SOAK_EXAMPLES = 150, 2_000  # the soak draws others each time
CRITERIA = ("Rechenweg", "Rechtschreibung")
SIZES = 200
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@cache
def whole(kind: str) -> bytes:
    """Return a small file with metadata beside its picture, so that both are damaged."""
    picture, options = files.noise(60, 80), {"exif": photos.personal()}
    match kind.split():
        case ["PDF"]:
            return pdf_bytes([picture] * 2)
        case ["progressive", "JPEG"]:
            return files.encoded(picture, "JPEG", progressive=True, **options)
        case ["interlaced", "PNG"]:
            return photos.interlaced_png()
        case ["LZW", "TIFF"]:
            return files.encoded(picture, "TIFF", compression="tiff_lzw", save_all=True, append_images=[picture])
        case ["HEIF"]:
            return files.encoded(picture, "HEIF", tile_size=64, icc_profile=photos.wide_gamut_profile(), **options)
        case ["PNG"]:
            return files.encoded(picture.convert("P"), "PNG", icc_profile=photos.wide_gamut_profile())
    return files.encoded(picture, kind, **options)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real document with some bytes changed, cut or repeated, or bytes that never were one."""
    content = bytearray(whole(draw(st.sampled_from(TYPES))))
    for _ in range(draw(st.integers(0, 12))):
        at = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(("change", "cut", "repeat", "insert"))):
            case "change":
                content[at] = draw(st.integers(0, 255))
            case "cut":
                del content[at : at + draw(st.integers(1, SIZES))]
            case "repeat":
                content[at:at] = content[at : at + SIZES]
            case "insert":
                content[at:at] = draw(st.binary(max_size=SIZES))
        content = content or bytearray(b"\0")
    return bytes(content)


@fuzzed
@given(damaged())
def test_any_bytes_are_pages_or_refused(content: bytes) -> None:
    """Any bytes yield pages that a model can read, or a reason for the refusal."""
    decode(content)


@pytest.mark.third_tier
@settings(fuzzed, max_examples=SOAK_EXAMPLES, derandomize=False)
@given(damaged())
def test_ever_other_bytes_are_pages_or_refused(content: bytes) -> None:
    """As above, with other bytes each time. Some minutes. The soak repeats it for half an hour."""
    decode(content)


def decode(content: bytes) -> None:
    """Decode in the child, whose limits bound memory and time. Its crash is a refusal, and a time-out is a failure."""
    refusals = []
    try:
        with decoding(lambda: content, max_pages=5) as pages:
            for page in pages:
                assert page.picture or page.notes == (Note.PAGE_MISSING,)
                if page.picture:
                    files.read(page.picture)
    except FileRefused as refusal:
        refusals.append(refusal.reason)
    assert {*refusals} <= {*REASONS}


class Answering(ThreadingHTTPServer):
    """A model server that sends the same body as the answer to every chat."""

    daemon_threads = True
    body = b""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, because a second packet would wait 0.04 s for an acknowledgement
    server: Answering

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def answering() -> Iterator[Answering]:
    with Answering(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    with answering() as started:
        yield started


@pytest.fixture(scope="module")
def writer(server: Answering) -> FeedbackWriter:
    values = {
        "AI_BACKEND": "local",
        "LEARNING_DATABASE_URL": "postgresql://w@h/d",
        "OLLAMA_BASE_URL": f"http://127.0.0.1:{server.server_port}",
    }
    return build(parse({**values, "AI_NUM_CTX": "8192"}).worker, lambda: None)


def streamed(text: str) -> bytes:
    """Return the text as a streamed answer of Ollama. It may be anything that JSON can carry."""
    middle = {"model": "m", "message": {"role": "assistant", "content": text}, "done": False}
    end = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "eval_count": 3}
    return "".join(json.dumps(line) + "\n" for line in (middle, end)).encode()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
lines = st.lists(st.sampled_from(streamed(document(2)).splitlines()) | values.map(lambda value: json.dumps(value).encode()))


@st.composite
def nearly_right(draw: st.DrawFn) -> str:
    """The right document with one of its parts replaced or missing."""
    answer: Any = json.loads(document(2))
    path = draw(st.sampled_from((["criteria"], ["feedback_md"], ["criteria", "c01"], ["criteria", "c02", "score"], ["more"])))
    place = answer
    for name in path[:-1]:
        place = place[name]
    if draw(st.booleans()):
        place[path[-1]] = draw(values)
    else:
        place.pop(path[-1], None)
    return json.dumps(answer)


texts = st.text(st.characters(), max_size=SIZES) | values.map(json.dumps) | nearly_right()


@fuzzed
@given(st.binary(max_size=2000) | lines.map(b"\n".join) | texts.map(streamed))
def test_any_answer_becomes_feedback_or_an_error_class(server: Answering, writer: FeedbackWriter, body: bytes) -> None:
    """Any answer of a model server becomes feedback on the given criteria, or an error with an agreed name."""
    server.body = body
    try:
        feedback = writer.analyze(text_md="Drei mal vierzehn", criteria=CRITERIA)
    except (FeedbackTransientError, FeedbackPermanentError, Unavailable):
        return
    results = feedback.analysis_json["criteria_results"]
    assert tuple(result["criterion"] for result in results) == CRITERIA
    assert all(0 <= result["score"] <= 10 for result in results)
    assert feedback.feedback_md.strip()
