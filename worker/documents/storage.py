"""Reads the files of submissions, from a local directory of buckets or from the platform's object store.

No error message contains a key, a URL or a file name, because they contain a pupil's subject.
"""

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import quote

import httpx

from worker.core.file_refusals import FileCutOff, FileDamaged, FileEmpty, FileTooLarge, KeyRefused
from worker.documents.errors import (
    MAX_ERROR_BYTES,
    RootUnreadable,
    StoreFailed,
    StoreNameUnresolved,
    StoreUnreachable,
    error_of_answer,
)
from worker.documents.local_file import read_file
from worker.ollama.deadline import Deadline
from worker.ollama.retry_after import retry_after_seconds
from worker.ollama.transport import BoundedTransport, DeadlineHolder, bounded, is_unresolved
from worker.settings import WorkerSettings

DOWNLOAD_SECONDS = 8.0  # for one file, from the connection to the last byte. The deadline for reading includes it
Reader = Callable[[], bytes]  # returns a file with at least one byte. Called in the decoder's child, because a disk may hang
PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", "application/json", "application/xml", "text/xml"})
MAX_KEY_BYTES = 1024  # the limit of object stores. A path may be longer, but no key of the platform is


def page_keys(submission: Mapping[str, Any]) -> list[str]:
    """Storage keys of the pages that the web side rendered from a PDF, in order. Empty if the metadata is malformed."""
    metadata = submission.get("internal_metadata")
    keys = metadata.get("page_keys") if isinstance(metadata, dict) else None
    return keys if isinstance(keys, list) and all(isinstance(key, str) for key in keys) else []


class Storage:
    """Reads originals and the pages that the web side has rendered."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._max_bytes = settings.learning_max_upload_bytes
        self._deadlines = DeadlineHolder()
        self._http = httpx.Client(  # without proxies and redirects, which would receive the service key
            transport=BoundedTransport(self._deadlines), timeout=DOWNLOAD_SECONDS, trust_env=False, follow_redirects=False
        )

    def original(self, submission: Mapping[str, Any]) -> Reader:
        """Return a reader of the file that was handed in. It also raises input_corrupt if size or sha256 differ from the row."""
        read = self.page(str(submission["storage_key"] or ""))
        return functools.partial(_read_original, read, submission["size_bytes"], submission["sha256"])

    def page(self, storage_key: str) -> Reader:
        """Return a reader of a file below the local root if one is set. From the object store the file is fetched at once.

        This function and the reader raise FileRefused for an impossible or foreign key and for a file that is empty or
        larger than LEARNING_MAX_UPLOAD_BYTES. They raise FileUnavailable if the file does not exist yet or cannot be read.
        """
        if not 0 < len(storage_key.encode("utf-8", "replace")) <= MAX_KEY_BYTES or "\0" in storage_key:
            _refuse_key("no storage key")
        if self._settings.storage_verify_root:
            return functools.partial(self._read_local, storage_key)
        if not self._settings.supabase_url:
            raise RootUnreadable("neither a local root nor an object store is set")
        content = _refuse_empty(self._read_store(storage_key))
        return lambda: content

    def _read_local(self, storage_key: str) -> bytes:
        content = read_file(self._settings.storage_verify_root, storage_key, self._max_bytes)
        self._refuse_size(len(content))
        return _refuse_empty(content)

    # The object store

    def _read_store(self, storage_key: str) -> bytes:
        """Download within DOWNLOAD_SECONDS. The limit covers the whole reply, so a slow store cannot delay a worker further."""
        until_seconds = time.monotonic() + DOWNLOAD_SECONDS
        self._deadlines.deadline = Deadline(until_seconds, until_seconds, DOWNLOAD_SECONDS)
        try:
            with self._http.stream("GET", self._url(storage_key), headers=self._headers()) as response:
                _refuse_answer(response)
                self._refuse_size(int(response.headers.get("content-length", 0)))
                return _refuse_page(response, self._read_body(response))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise (StoreNameUnresolved if is_unresolved(error) else StoreUnreachable)(type(error).__name__) from None
        except httpx.HTTPError as error:
            raise StoreFailed(f"object store: {type(error).__name__}") from None

    def _read_body(self, response: httpx.Response) -> bytes:
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            self._refuse_size(len(content))
        return bytes(content)

    def _url(self, storage_key: str) -> str:
        """Return the URL of a key in the bucket. The service key opens every bucket, so a path out of this one is refused."""
        bucket = self._settings.learning_storage_bucket
        key = storage_key.removeprefix(f"{bucket}/")
        if {"", ".", ".."} & set(key.split("/")):
            _refuse_key("storage key leaves the bucket")
        return f"{self._settings.supabase_url}/storage/v1/object/{bucket}/{quote(key, errors='replace')}"

    def _headers(self) -> dict[str, str]:
        key = self._settings.supabase_service_role_key.get_secret_value()
        return {"apikey": key, "Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}

    def _refuse_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise FileTooLarge("file exceeds LEARNING_MAX_UPLOAD_BYTES")


def _read_original(read: Reader, size_bytes: int | None, sha256: str) -> bytes:
    content = read()
    if len(content) < (size_bytes or 0):
        raise FileCutOff("fewer bytes than the row says")
    if len(content) != size_bytes or hashlib.sha256(content).hexdigest() != sha256:
        raise FileDamaged("size or sha256 differ from the row")
    return content


def _refuse_page(response: httpx.Response, content: bytes) -> bytes:
    """A page that is called one is of another server, such as a login, or an error. No file that was handed in is called that."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in PAGE_TYPES and content.lstrip().startswith((b"<", b"{")):
        raise StoreFailed("a page in place of the file")
    return content


def _refuse_empty(content: bytes) -> bytes:
    if not content:
        raise FileEmpty
    return content


def _refuse_key(message: str) -> NoReturn:
    raise KeyRefused(message) from None


def _refuse_answer(response: httpx.Response) -> None:
    """Raise FileUnavailable for every status but 200. A redirect is a mistake in the platform's configuration."""
    if response.status_code != httpx.codes.OK:
        body = bounded(response.iter_raw(), MAX_ERROR_BYTES)
        raise error_of_answer(response.status_code, body, retry_after_seconds(response.headers.get("retry-after", "")))
    if response.headers.get("content-encoding", "identity") != "identity":  # not requested, and decompression has no size limit
        raise StoreFailed("object store compressed the file")
