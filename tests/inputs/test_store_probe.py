"""The monitor's probe of the store: it has the classes of a job's error, ends in time and hangs with no disk."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.monitor.outgoing import RequestEnd
from supervisor.monitor.store import probe, root
from supervisor.monitor.store.probe import StoreProbe
from supervisor.settings.model import parse
from testkit.object_store import BUCKET_PREFIX, SERVICE_KEY, Request, Store, files_below, start_store
from tests.inputs.alarm import alarmed
from worker.documents import sandbox
from worker.documents.storage import Storage

DATABASE = {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning"}
KEY = "submissions/work.png"


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    with alarmed():
        yield


@pytest.fixture
def store() -> Iterator[Store]:
    with start_store() as running:
        yield running


def probed(**settings: str) -> RequestEnd:
    return asyncio.run(StoreProbe(parse(DATABASE | settings).worker).run())


def of(store: Store, key: str = SERVICE_KEY, **settings: str) -> RequestEnd:
    return probed(SUPABASE_URL=store.url, SUPABASE_SERVICE_ROLE_KEY=key, **settings)


def error_of_a_job(store: Store) -> str:
    """Class of the error with which a job fails at the same answer."""
    settings = parse(DATABASE | {"SUPABASE_URL": store.url, "SUPABASE_SERVICE_ROLE_KEY": SERVICE_KEY}).worker
    with pytest.raises(Exception) as failed:
        Storage(settings).page(KEY)
    return type(failed.value).__name__


# The object store


def test_a_bucket_that_can_be_read(store: Store, tmp_path: Path) -> None:
    """The request names the bucket and carries the key in both headers, as that for a file does."""
    (tmp_path / "submissions").mkdir()
    store.answer = files_below(tmp_path, {})
    assert of(store) == RequestEnd()
    ((path, headers),) = store.requests
    assert path == f"{BUCKET_PREFIX}submissions"
    assert (headers["apikey"], headers["authorization"]) == (SERVICE_KEY, f"Bearer {SERVICE_KEY}")


def test_a_wrong_bucket_and_a_refused_key_are_rejected(store: Store, tmp_path: Path) -> None:
    """A bucket of another name is missing, and another key is not accepted."""
    (tmp_path / "submissions").mkdir()
    store.answer = files_below(tmp_path, {})
    assert of(store, LEARNING_STORAGE_BUCKET="elsewhere") == RequestEnd("StoreRejected")
    assert of(store, key="another") == RequestEnd("StoreRejected")


ANSWERS = {
    "an error": (500, b"", {}, RequestEnd("StoreFailed")),
    "a redirect": (302, b"", {"Location": "/elsewhere"}, RequestEnd("StoreFailed")),
    "a page of another server": (200, b"<html>", {"Content_Type": "text/html"}, RequestEnd("StoreFailed")),
    "a bad request": (400, b"no JSON", {}, RequestEnd("StoreFailed")),
    "rights": (403, b"", {}, RequestEnd("StoreRejected")),
    "the platform's word for a wrong key": (
        400,
        b'{"statusCode": "403", "error": "Unauthorized", "message": "invalid signature"}',
        {},
        RequestEnd("StoreRejected"),
    ),
    "the platform's word for a missing bucket": (
        400,
        b'{"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"}',
        {},
        RequestEnd("StoreRejected"),
    ),
    "a word of the newer code": (404, b'{"code": "NoSuchBucket", "message": "x"}', {}, RequestEnd("StoreRejected")),
    "too many requests": (429, b"", {"Retry_After": "7"}, RequestEnd("StoreBusy", 7.0)),
    "no room": (503, b"", {}, RequestEnd("StoreBusy")),
    "a pause of an hour": (503, b"", {"Retry_After": "3600"}, RequestEnd("StoreBusy", 60.0)),
}


@pytest.mark.parametrize(("status", "body", "headers", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
def test_each_answer_has_the_class_of_a_job_s_error(
    store: Store, status: int, body: bytes, headers: dict[str, str], expected: RequestEnd
) -> None:
    """A job that fails and the probe after it name the same cause."""
    store.answer = lambda request: request.answer(body, status, **headers)
    assert of(store) == expected
    assert error_of_a_job(store) == expected.error_class


@pytest.mark.parametrize("answer", [(404, b""), (400, b'{"statusCode": "404", "error": "not_found", "message": "x"}')])
def test_a_missing_file_is_not_a_missing_bucket(store: Store, answer: tuple[int, bytes]) -> None:
    """The same status about a file is the file's, also where the platform puts it into the body of a 400."""
    store.answer = lambda request: request.answer(answer[1], answer[0])
    assert (error_of_a_job(store), of(store).error_class) == ("StoreFileMissing", "StoreRejected")


def test_a_store_that_is_away() -> None:
    """A port without a listener, and a name without an address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert probed(SUPABASE_URL=url, SUPABASE_SERVICE_ROLE_KEY="x") == RequestEnd("StoreUnreachable")
    assert probed(SUPABASE_URL="http://nowhere-at-all", SUPABASE_SERVICE_ROLE_KEY="x") == RequestEnd("StoreNameUnresolved")


def test_a_silent_store_ends_in_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.2)
    is_over = threading.Event()

    def wait(_request: Request) -> None:
        is_over.wait()

    store.answer = wait
    try:
        assert of(store) == RequestEnd("StoreFailed")
    finally:
        is_over.set()


def test_neither_a_store_nor_a_root_is_set() -> None:
    """No file can be read until a setting is changed."""
    assert probed() == RequestEnd("RootUnreadable")


# The local root


@pytest.mark.parametrize(
    ("directory", "error_class"),
    [("sound", ""), ("missing", "RootUnreadable"), ("empty", "RootUnreadable"), ("file", "RootUnreadable")],
)
def test_a_root_is_listed_with_its_bucket(tmp_path: Path, directory: str, error_class: str) -> None:
    """An empty mount point is no root. The child that looks ends with the probe."""
    (tmp_path / "sound" / "submissions").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    before = psutil.Process().children()
    assert probed(STORAGE_VERIFY_ROOT=str(tmp_path / directory)) == RequestEnd(error_class)
    assert psutil.Process().children() == before


def test_a_hung_disk_ends_in_time_and_leaves_one_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a child of an earlier probe hangs in the kernel no further one is started, however long the outage lasts."""
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(sandbox, "END_SECONDS", 0.0)
    monkeypatch.setattr(root, "read_directories", lambda *_: os.kill(os.getpid(), 19))  # stopped: it writes nothing
    assert probed(STORAGE_VERIFY_ROOT=str(tmp_path)) == RequestEnd("FileTimeout")
    monkeypatch.setattr(root, "left_children", lambda: 1)
    assert probed(STORAGE_VERIFY_ROOT=str(tmp_path)) == RequestEnd("FileTimeout")
