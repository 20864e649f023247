"""Where the files of submissions are: a local directory of buckets, or the platform's object store."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from worker.adapters.errors import VisionPermanentError, VisionTransientError
from worker.core.job import ErrorCode
from worker.settings import WorkerSettings

STORE_TIMEOUT_SECONDS = 5.0


class Storage:
    """Reads originals, whose size and sha256 must match the row, and pages that the web side rendered."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

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
            with httpx.stream("GET", self._url(storage_key), headers=self._headers(), timeout=STORE_TIMEOUT_SECONDS) as response:
                if response.status_code != httpx.codes.OK:
                    raise VisionTransientError(f"object store answered {response.status_code}")
                return self._collected(response)
        except httpx.HTTPError as error:
            raise VisionTransientError(f"object store: {type(error).__name__}") from error

    def _collected(self, response: httpx.Response) -> bytes:
        content = bytearray()
        for chunk in response.iter_bytes():
            self._bounded(content.__iadd__(chunk))
        return bytes(content)

    def _bounded(self, content: bytes | bytearray) -> bytes:
        if len(content) > self._settings.learning_max_upload_bytes:
            raise VisionPermanentError("file exceeds LEARNING_MAX_UPLOAD_BYTES", ErrorCode.INPUT_TOO_LARGE)
        return bytes(content)

    def _url(self, storage_key: str) -> str:
        if not self._settings.supabase_url:
            raise VisionTransientError("neither STORAGE_VERIFY_ROOT nor SUPABASE_URL is set")
        bucket = self._settings.learning_storage_bucket
        return f"{self._settings.supabase_url}/storage/v1/object/{bucket}/{storage_key.removeprefix(f'{bucket}/')}"

    def _headers(self) -> dict[str, str]:
        key = self._settings.supabase_service_role_key.get_secret_value()
        return {"apikey": key, "Authorization": f"Bearer {key}"}
