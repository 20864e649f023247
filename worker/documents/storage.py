"""Where the files of submissions are: a local directory of buckets, or the platform's object store.

No error tells a key, a URL or a name: they hold a pupil's subject.
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import httpx

from worker.core.errors import VisionPermanentError, VisionTransientError
from worker.ipc.contract import ErrorCode
from worker.ollama.deadline import Deadline
from worker.ollama.transport import BoundedTransport, DeadlineHolder
from worker.settings import WorkerSettings

DOWNLOAD_SECONDS = 8.0  # one file, from the connection to the last byte; with the first look at it the deadline for reading
MAX_KEY_BYTES = 1024  # of object stores; a path may be longer, but no key of the platform is
_NO_NAMES = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.EISDIR})  # no waiting makes a file of these


def page_keys(submission: Mapping[str, Any]) -> list[str]:
    """Storage keys of the pages that the web side rendered from a PDF, in order. Empty if the metadata is malformed."""
    metadata = submission["internal_metadata"]
    keys = metadata.get("page_keys") if isinstance(metadata, dict) else None
    return keys if isinstance(keys, list) and all(isinstance(key, str) for key in keys) else []


class Storage:
    """Reads originals, whose size and sha256 must match the row, and pages that the web side rendered."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._max_bytes = settings.learning_max_upload_bytes
        self._patience = DeadlineHolder()
        self._http = httpx.Client(  # no proxy sees the service key, and no redirect carries it elsewhere
            transport=BoundedTransport(self._patience), timeout=DOWNLOAD_SECONDS, trust_env=False, follow_redirects=False
        )

    def original(self, submission: Mapping[str, Any]) -> bytes:
        """Raises like `read`; VisionPermanentError also where the file is not the one that was handed in."""
        content = self.read(str(submission["storage_key"] or ""))
        if len(content) != submission["size_bytes"] or hashlib.sha256(content).hexdigest() != submission["sha256"]:
            raise VisionPermanentError("size or sha256 differ from the row", ErrorCode.INPUT_CORRUPT)
        return content

    def read(self, storage_key: str) -> bytes:
        """The bytes under a key, from the local root if one is set; at least one, at most LEARNING_MAX_UPLOAD_BYTES.

        Raises VisionPermanentError for a key that names no file of ours and for a file that is empty or too large,
        VisionTransientError where the file is not there yet or the store does not hand it out: no pupil can help that.
        """
        if not 0 < len(storage_key.encode("utf-8", "replace")) <= MAX_KEY_BYTES or "\0" in storage_key:
            _refuse_key("no storage key")
        content = self._read_local(storage_key) if self._settings.storage_verify_root else self._read_store(storage_key)
        if not content:
            raise VisionPermanentError("an empty file", ErrorCode.INPUT_CORRUPT)
        return content

    # The local root

    def _read_local(self, storage_key: str) -> bytes:
        try:
            path = self._path(storage_key)
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                if Path(f"/proc/self/fd/{fd}").readlink() != path:  # O_NOFOLLOW says nothing of the directories on the way
                    raise VisionTransientError("the file was moved while it was opened")
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    _refuse_key("not a regular file")
                content = file.read(self._max_bytes + 1)
        except OSError as error:
            if error.errno in _NO_NAMES:
                _refuse_key("no file can have this key")
            raise VisionTransientError(f"file not readable: {type(error).__name__}") from None
        self._refuse_size(len(content))
        return content

    def _path(self, storage_key: str) -> Path:
        """Where the bytes really are, which must be in the root: links are followed here, and what is opened must lie there."""
        try:
            root = Path(self._settings.storage_verify_root).resolve()
            path = (root / storage_key).resolve()
        except (ValueError, RuntimeError):  # not to be encoded; links in a circle, until Python 3.12
            _refuse_key("no file can have this key")
        if not path.is_relative_to(root):
            _refuse_key("storage key leaves the root")
        return path

    # The object store

    def _read_store(self, storage_key: str) -> bytes:
        """Each wait ends with the deadline: a store that trickles, head or body, must not cost the worker its deadline."""
        until_seconds = time.monotonic() + DOWNLOAD_SECONDS
        self._patience.deadline = Deadline(until_seconds, until_seconds, DOWNLOAD_SECONDS)
        try:
            with self._http.stream("GET", self._url(storage_key), headers=self._headers()) as response:
                _refuse_answer(response)
                self._refuse_size(int(response.headers.get("content-length", 0)))
                return self._collected(response)
        except httpx.HTTPError as error:
            raise VisionTransientError(f"object store: {type(error).__name__}") from None

    def _collected(self, response: httpx.Response) -> bytes:
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            self._refuse_size(len(content))
        return bytes(content)

    def _url(self, storage_key: str) -> str:
        """Only what lies in the bucket: the service key goes along, and it must not fetch anything else."""
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
            raise VisionPermanentError("file exceeds LEARNING_MAX_UPLOAD_BYTES", ErrorCode.INPUT_TOO_LARGE)


def _refuse_key(message: str) -> NoReturn:
    raise VisionPermanentError(message, ErrorCode.INPUT_UNSUPPORTED) from None


def _refuse_answer(response: httpx.Response) -> None:
    """A redirect is a mistake in the platform's configuration, like any status but 200: worth a later try."""
    if response.status_code != httpx.codes.OK:
        raise VisionTransientError(f"object store answered {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":  # not asked for, and unpacking it has no limit
        raise VisionTransientError("object store packed the file")
