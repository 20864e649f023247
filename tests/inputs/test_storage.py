"""Only a submission's own files are read, from the local root or from the store, and never more than allowed."""

import hashlib
import os
import socket
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.settings.model import parse
from supervisor.settings.problems import SettingsError
from testkit.object_store import Request, Store, start_store
from tests.inputs.alarm import alarmed
from worker.core.errors import VisionPermanentError, VisionTransientError
from worker.documents import local_file, storage
from worker.documents.decoder import decoding
from worker.documents.errors import (
    FileUnavailable,
    RootUnreadable,
    StoreBusy,
    StoreFailed,
    StoreFileMissing,
    StoreRejected,
    StoreUnreachable,
)
from worker.documents.storage import Storage
from worker.ipc.contract import ErrorCode

KEY = "submissions/course/task/student/orig/work.png"
SERVICE_KEY = "the-secret-service-key"
MAX_BYTES = 1000
DATABASE = {
    "AI_BACKEND": "local",
    "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning",
    "LEARNING_MAX_UPLOAD_BYTES": f"{MAX_BYTES}B",
}
CORRUPT, UNSUPPORTED, TOO_LARGE = ErrorCode.INPUT_CORRUPT, ErrorCode.INPUT_UNSUPPORTED, ErrorCode.INPUT_TOO_LARGE


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """A read without end fails its test."""
    with alarmed():
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with one file, beside a secret."""
    file = tmp_path / "root" / KEY
    file.parent.mkdir(parents=True)
    file.write_bytes(b"content")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "root-of-others").mkdir()
    (tmp_path / "root-of-others" / "x.png").write_bytes(b"secret")
    return tmp_path / "root"


@pytest.fixture
def local(root: Path) -> Storage:
    return Storage(parse(DATABASE | {"STORAGE_VERIFY_ROOT": str(root)}).worker)


@pytest.fixture
def store() -> Iterator[Store]:
    with start_store() as running:
        yield running


@pytest.fixture
def remote(store: Store) -> Storage:
    return Storage(parse(DATABASE | {"SUPABASE_URL": store.url, "SUPABASE_SERVICE_ROLE_KEY": SERVICE_KEY}).worker)


def code_of(place: Storage, key: str = KEY) -> ErrorCode | None:
    with pytest.raises(VisionPermanentError) as refused:
        place.page(key)()
    assert_silent(refused.value)
    return refused.value.error_code


def assert_transient(place: Storage, key: str = KEY, error: type[FileUnavailable] = StoreFailed) -> None:
    with pytest.raises(VisionTransientError) as failed:
        place.page(key)()
    assert type(failed.value) is error
    assert_silent(failed.value)


def assert_silent(error: Exception) -> None:
    """Check that an error contains neither the file nor the store nor the service key, however it is printed."""
    printed = "".join(traceback.format_exception(error, limit=0)) + repr(error)
    assert not [word for word in ("student", "work.png", "course", "127.0.0.1", "http:", SERVICE_KEY) if word in printed]


def row(content: bytes, **changed: object) -> dict[str, object]:
    return {"storage_key": KEY, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} | changed


# An original


def test_the_original_is_read(local: Storage) -> None:
    """Size and sha256 match the row."""
    assert local.original(row(b"content"))() == b"content"


@pytest.mark.parametrize(
    "changed",
    [{"size_bytes": 6}, {"size_bytes": None}, {"sha256": "0" * 64}, {"sha256": None}, {"sha256": row(b"other")["sha256"]}],
)
def test_another_file_than_was_handed_in_is_corrupt(local: Storage, changed: dict[str, object]) -> None:
    """If size or sha256 differ from the row, the file is rejected."""
    with pytest.raises(VisionPermanentError) as refused:
        local.original(row(b"content", **changed))()
    assert refused.value.error_code is CORRUPT


def test_a_row_without_a_key_is_unsupported(local: Storage) -> None:
    """There is no file to wait for."""
    with pytest.raises(VisionPermanentError) as refused:
        local.original(row(b"content", storage_key=None))
    assert refused.value.error_code is UNSUPPORTED


# The local root


def test_a_link_within_the_root_is_followed(local: Storage, root: Path) -> None:
    """The target decides."""
    (root / "link.png").symlink_to(root / KEY)
    assert local.page("link.png")() == b"content"


@pytest.mark.parametrize(
    "key",
    [
        "../secret.png",
        "submissions/../../secret.png",
        "../root-of-others/x.png",
        "/etc/passwd",
        "//etc/passwd",
        "link-out.png",
        "directory-out/secret.png",
        "chain.png",
    ],
)
def test_nothing_outside_the_root_is_read(local: Storage, root: Path, key: str) -> None:
    """Neither dots, nor an absolute path, nor links to files, directories or links lead out of the root."""
    (root / "link-out.png").symlink_to(root.parent / "secret.png")
    (root / "directory-out").symlink_to(root.parent)
    (root / "chain.png").symlink_to("link-out.png")
    assert code_of(local, key) is UNSUPPORTED


def test_a_link_made_after_the_check_is_not_followed(local: Storage, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may put a link there between the check of the path and the opening of it."""
    (root / "late.png").symlink_to(root.parent / "secret.png")
    monkeypatch.setattr(local_file, "resolved", lambda _root, key: root / key)
    assert code_of(local, "late.png") is UNSUPPORTED


def test_a_directory_replaced_by_a_link_is_not_followed(local: Storage, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for every directory in the path. The next check finds the target."""
    (root / "late").symlink_to(root.parent)
    monkeypatch.setattr(local_file, "resolved", lambda _root, key: root / key)
    assert_transient(local, "late/secret.png", StoreFileMissing)


@pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "circle"])
def test_a_special_file_is_rejected_at_once(local: Storage, root: Path, kind: str) -> None:
    """A FIFO without a writer would block the worker, and none of these becomes a file later."""
    path = root / "strange.png"
    with socket.socket(socket.AF_UNIX) as listener:
        match kind:
            case "fifo":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "socket":
                listener.bind(str(path))
            case _:
                path.symlink_to(path)
        assert code_of(local, path.name) is UNSUPPORTED


@pytest.mark.parametrize(
    "key", ["", "x\0.png", "x" * 300, "y/" * 600, "\ud800.png"], ids=["none", "NUL", "name", "path", "surrogate"]
)
def test_a_key_that_no_file_can_have_is_unsupported(local: Storage, key: str) -> None:
    """It is not tried again and again."""
    assert code_of(local, key) is UNSUPPORTED


@pytest.mark.parametrize("key", ["submissions/missing.png", f"{KEY}/below-a-file"])
def test_a_missing_file_is_worth_another_try(local: Storage, key: str) -> None:
    """The web side may be about to write it, so another try is worthwhile. The bucket is there, so the root is not at fault."""
    assert_transient(local, key, StoreFileMissing)


@pytest.mark.parametrize("change", ["no root", "an empty mount point", "a file in its place"])
def test_a_root_without_its_bucket_is_at_fault(local: Storage, root: Path, change: str) -> None:
    """Each file would be missing, and none of the pupils is the cause."""
    root.rename(root.with_name("elsewhere"))
    match change:
        case "an empty mount point":
            root.mkdir()
        case "a file in its place":
            root.touch()
    assert_transient(local, KEY, RootUnreadable)


@pytest.mark.parametrize("error", [PermissionError(13, "x"), OSError(5, "x"), OSError(116, "x"), OSError(107, "x")])
def test_a_file_that_the_system_does_not_return_is_the_root_s_fault(
    local: Storage, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """Rights, a disk with an error, and a network disk whose server is gone concern more than one file."""

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", fail)
    assert_transient(local, KEY, RootUnreadable)


def test_the_class_of_an_error_leaves_the_decoder_s_child(local: Storage, root: Path) -> None:
    """The monitor holds pictures back by the class, and the file is read in the child."""
    (root / KEY).unlink()
    with pytest.raises(StoreFileMissing), decoding(local.page(KEY), max_pages=1):
        pass
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(RootUnreadable), decoding(local.page(KEY), max_pages=1):
        pass


@pytest.mark.parametrize(("size_bytes", "code"), [(0, CORRUPT), (MAX_BYTES + 1, TOO_LARGE)])
def test_a_local_file_has_a_size_limit(local: Storage, root: Path, size_bytes: int, code: ErrorCode) -> None:
    """At least one byte, at most LEARNING_MAX_UPLOAD_BYTES."""
    (root / KEY).write_bytes(b"x" * size_bytes)
    assert code_of(local) is code


def test_a_sparse_file_of_a_terabyte_is_cut_off(local: Storage, root: Path) -> None:
    """No more is read than allowed."""
    with (root / KEY).open("wb") as file:
        file.truncate(2**40)
    assert code_of(local) is TOO_LARGE


def test_the_largest_file_is_read(local: Storage, root: Path) -> None:
    """The limit itself is allowed."""
    (root / KEY).write_bytes(b"x" * MAX_BYTES)
    assert len(local.page(KEY)()) == MAX_BYTES


def test_a_file_without_a_size_is_cut_off(root: Path) -> None:
    """A file with a declared size of 0 and more content is read no further than allowed."""
    (root / "proc").mkdir()
    place = Storage(parse(DATABASE | {"STORAGE_VERIFY_ROOT": "/proc/self", "LEARNING_MAX_UPLOAD_BYTES": "10B"}).worker)
    assert code_of(place, "status") is TOO_LARGE


# The object store


def test_the_request_follows_the_contract(store: Store, remote: Storage) -> None:
    """The bucket appears once in the path, the key in both headers, and no compression is accepted."""
    assert remote.page(KEY)() == b"content"
    ((path, headers),) = store.requests
    assert path == f"/storage/v1/object/{KEY}"
    assert (headers["apikey"], headers["authorization"]) == (SERVICE_KEY, f"Bearer {SERVICE_KEY}")
    assert headers["accept-encoding"] == "identity"


def test_special_characters_in_a_key_are_quoted(store: Store, remote: Storage) -> None:
    """No name becomes a query, a fragment or an escaped way out."""
    remote.page("submissions/a?b#c%2e%2e/ü.png")()
    assert store.requests[0][0] == "/storage/v1/object/submissions/a%3Fb%23c%252e%252e/%C3%BC.png"


@pytest.mark.parametrize("key", ["submissions/../x", "../x", "submissions//x", "/x", "submissions/", "x\0", "y" * 1025])
def test_nothing_outside_the_bucket_is_requested(store: Store, remote: Storage, key: str) -> None:
    """The service key opens every bucket, so such a key is rejected before a request is sent."""
    assert code_of(remote, key) is UNSUPPORTED
    assert store.requests == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(store: Store, remote: Storage, status: int) -> None:
    """The service key goes nowhere else. The platform's configuration is at fault, not the pupil."""
    with start_store() as elsewhere:
        store.answer = lambda request: request.answer(b"", status, Location=elsewhere.url)
        assert_transient(remote)
        assert elsewhere.requests == []


STATUSES = {
    206: StoreFailed,
    400: StoreFailed,
    401: StoreRejected,
    403: StoreRejected,
    404: StoreFileMissing,
    429: StoreBusy,
    500: StoreFailed,
    503: StoreBusy,
}


@pytest.mark.parametrize(("status", "error"), STATUSES.items())
def test_any_status_but_200_is_worth_another_try(
    store: Store, remote: Storage, status: int, error: type[FileUnavailable]
) -> None:
    """Only 200 is the file. The class has the cause."""
    store.answer = lambda request: request.answer(b"content", status)
    assert_transient(remote, KEY, error)


def test_a_busy_store_names_its_pause(store: Store, remote: Storage) -> None:
    store.answer = lambda request: request.answer(b"", 429, Retry_After="9")
    with pytest.raises(StoreBusy) as busy:
        remote.page(KEY)
    assert busy.value.retry_after_seconds == 9.0


def test_the_body_of_an_error_is_read_to_its_limit(store: Store, remote: Storage) -> None:
    """It may have any size, and no more of it is needed."""

    def pour(request: Request) -> None:
        request.head(500, Connection="close")
        for _ in range(1024):
            request.wfile.write(bytes(2**20))

    store.answer = pour
    assert_transient(remote)


def test_a_declared_size_above_the_limit_is_rejected(store: Store, remote: Storage) -> None:
    """A gigabyte is rejected by its header, before the store has sent a byte of it."""

    def declare(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(2**30))
        request.end_headers()

    store.answer = declare
    assert code_of(remote) is TOO_LARGE


def test_an_undeclared_gigabyte_is_cut_off(store: Store, remote: Storage) -> None:
    """The connection is closed long before the store has sent all of it."""
    sent: list[int] = []

    def pour(request: Request) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        for _ in range(1024):
            request.wfile.write(bytes(2**20))
            sent.append(2**20)

    store.answer = pour
    assert code_of(remote) is TOO_LARGE
    assert sum(sent) < 2**28


def test_an_empty_answer_is_corrupt(store: Store, remote: Storage) -> None:
    """The file exists and is empty."""
    store.answer = lambda request: request.answer(b"")
    assert code_of(remote) is CORRUPT


def test_a_compressed_answer_is_not_decompressed(store: Store, remote: Storage) -> None:
    """It was not requested, and a few bytes may decompress to any size."""
    store.answer = lambda request: request.answer(b"content", Content_Encoding="gzip")
    assert_transient(remote)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "Application/JSON", "text/xml"])
def test_a_page_with_status_200_is_no_file(store: Store, remote: Storage, content_type: str) -> None:
    """A login page or an error in place of the file is the network's fault or the store's."""
    store.answer = lambda request: request.answer(b"<!DOCTYPE html>", Content_Type=content_type)
    assert_transient(remote)


def test_half_a_file_is_worth_another_try(store: Store, remote: Storage) -> None:
    """A broken connection is no sign of a fault in the file."""
    store.answer = lambda request: request.answer(b"half", Content_Length="8", Connection="close")
    assert_transient(remote)


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"])
def test_a_slow_store_is_given_up(store: Store, remote: Storage, monkeypatch: pytest.MonkeyPatch, beginning: bytes) -> None:
    """One deadline covers the whole file, if nothing comes and if a head or a body does not end."""
    monkeypatch.setattr(storage, "DOWNLOAD_SECONDS", 0.2)
    is_over = threading.Event()

    def trickle(request: Request) -> None:
        request.wfile.write(beginning)
        while not is_over.wait(0.05):
            if beginning:
                request.wfile.write(b"x")

    store.answer = trickle
    try:
        assert_transient(remote)
    finally:
        is_over.set()


def test_a_missing_store_is_worth_another_try() -> None:
    """Nothing listens at the port of a socket that is only bound."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        settings = parse(DATABASE | {"SUPABASE_URL": url, "SUPABASE_SERVICE_ROLE_KEY": SERVICE_KEY})
        assert_transient(Storage(settings.worker), KEY, StoreUnreachable)


def test_a_missing_configuration_is_transient() -> None:
    """Neither a root nor a store is set, which is not the pupil's fault."""
    assert_transient(Storage(parse(DATABASE).worker), KEY, RootUnreadable)


@pytest.mark.parametrize("url", ["http://store.school.test", "http://10.0.0.1", "http://user:word@localhost", "ftp://store"])
def test_the_key_is_not_sent_in_plain_text(url: str) -> None:
    """Plain http is allowed only to loopback or to a name without a dot. Anything else prevents the start."""
    with pytest.raises(SettingsError):
        parse(DATABASE | {"SUPABASE_URL": url, "SUPABASE_SERVICE_ROLE_KEY": SERVICE_KEY})


def test_a_page_of_another_server_is_the_store_s_fault(store: Store, remote: Storage) -> None:
    """A login page in place of each file, or the site of a wrong SUPABASE_URL, is no damaged file."""
    store.answer = lambda request: request.answer(b"\n<!DOCTYPE html><html></html>", Content_Type="text/html; charset=utf-8")
    with pytest.raises(StoreFailed):
        remote.page(KEY)


@pytest.mark.parametrize(("content", "media_type"), [(b"\x89PNG", "text/html"), (b"<html>", "image/png")])
def test_a_file_with_an_odd_type_is_read(store: Store, remote: Storage, content: bytes, media_type: str) -> None:
    """The store knows the type from the upload. What the file is decides the decoder."""
    store.answer = lambda request: request.answer(content, Content_Type=media_type)
    assert remote.page(KEY)() == content
