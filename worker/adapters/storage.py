"""Where the files of submissions are: a local directory of buckets, or the platform's object store."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from worker.adapters.errors import VisionPermanentError, VisionTransientError
from worker.core.job import ErrorCode
from worker.settings import WorkerSettings

STORE_TIMEOUT_SECONDS = 4.0  # silence
DOWNLOAD_SECONDS = 8.0  # all of one file; with the rendering below what the vision step allows for it


class Storage:
    """Reads originals, whose size and sha256 must match the row, and pages that the web side rendered."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._http = httpx.Client(timeout=STORE_TIMEOUT_SECONDS, trust_env=False)  # no proxy sees the service key

    def original(self, submission: Mapping[str, Any]) -> bytes:
        """Raises VisionPermanentError where the file is not the one that was handed in."""
        content = self.read(str(submission["storage_key"] or ""))
        if len(content) != submission["size_bytes"] or hashlib.sha256(content).hexdigest() != submission["sha256"]:
            raise VisionPermanentError("size or sha256 differ from the row", ErrorCode.INPUT_CORRUPT)
        return content

    def read(self, storage_key: str) -> bytes:
        """The bytes under a key, from the local root if one is set."""
        if not storage_key:
            raise VisionPermanentError("no storage key", ErrorCode.INPUT_UNSUPPORTED)
        if self._settings.storage_verify_root:
            return self._read_local(storage_key)
        return self._read_store(storage_key)

    def _read_local(self, storage_key: str) -> bytes:
        root = Path(self._settings.storage_verify_root).resolve()
        path = (root / storage_key).resolve()  # follows links: what counts is where the bytes really are
        if not path.is_relative_to(root):
            raise VisionPermanentError("storage key leaves the root", ErrorCode.INPUT_UNSUPPORTED)
        try:
            with path.open("rb") as file:
                return self._bounded(file.read(self._settings.learning_max_upload_bytes + 1))
        except OSError as error:
            raise VisionTransientError(f"file not readable: {type(error).__name__}") from error

    def _read_store(self, storage_key: str) -> bytes:
        try:
            with self._http.stream("GET", self._url(storage_key), headers=self._headers()) as response:
                if response.status_code != httpx.codes.OK:
                    raise VisionTransientError(f"object store answered {response.status_code}")
                return self._collected(response)
        except httpx.HTTPError as error:
            raise VisionTransientError(f"object store: {type(error).__name__}") from error

    def _collected(self, response: httpx.Response) -> bytes:
        """All of it, within a deadline: a store that trickles must not cost the worker its promise."""
        content, until_seconds = bytearray(), time.monotonic() + DOWNLOAD_SECONDS
        for chunk in response.iter_bytes():
            content += chunk
            self._refuse_size(len(content))
            if time.monotonic() > until_seconds:
                raise VisionTransientError("object store: too slow")
        return bytes(content)

    def _bounded(self, content: bytes) -> bytes:
        self._refuse_size(len(content))
        return content

    def _refuse_size(self, size_bytes: int) -> None:
        if size_bytes > self._settings.learning_max_upload_bytes:
            raise VisionPermanentError("file exceeds LEARNING_MAX_UPLOAD_BYTES", ErrorCode.INPUT_TOO_LARGE)

    def _url(self, storage_key: str) -> str:
        """Only what lies in the bucket: the key goes along, and it must not fetch anything else."""
        if not self._settings.supabase_url:
            raise VisionTransientError("neither STORAGE_VERIFY_ROOT nor SUPABASE_URL is set")
        bucket = self._settings.learning_storage_bucket
        key = storage_key.removeprefix(f"{bucket}/")
        if {"", ".", ".."} & set(key.split("/")):
            raise VisionPermanentError("storage key leaves the bucket", ErrorCode.INPUT_UNSUPPORTED)
        return f"{self._settings.supabase_url}/storage/v1/object/{bucket}/{quote(key)}"

    def _headers(self) -> dict[str, str]:
        key = self._settings.supabase_service_role_key.get_secret_value()
        return {"apikey": key, "Authorization": f"Bearer {key}"}
