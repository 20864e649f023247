"""A trial of `check`: the place of the submitted files, a local directory or the object store, as a worker will use it."""

import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from supervisor.findings import Finding, Level
from supervisor.wording import counted
from worker.ollama.deadline import Deadline
from worker.ollama.transport import DeadlineHolder, bounded, bounded_client, is_unresolved
from worker.settings import WorkerSettings
from worker.trial import file_fault

STORE_SECONDS = 8.0  # as for the download of a file
_MAX_REPLY_BYTES = 65_536
_KEY_REJECTED = (401, 403)
_SOON = "This is right only before the first file is handed in. Else correct the setting, or mount the directory"

Rows = Sequence[Mapping[str, Any]]  # submissions that wait for their pictures to be read


def files(settings: WorkerSettings, waiting: Rows) -> Iterator[Finding]:
    """Runs in the child with the service's rights. `waiting` are some submissions whose file a worker will read."""
    if settings.storage_verify_root:
        found = _root(Path(settings.storage_verify_root), settings.learning_storage_bucket, has_waiting=bool(waiting))
    elif settings.supabase_url:
        found = _store(settings)
    else:
        remedy = "set STORAGE_VERIFY_ROOT or SUPABASE_URL, else no picture can be read"
        found = Finding(Level.FAILED, "files of submissions", remedy)
    yield found
    if found.level is not Level.FAILED and waiting:
        yield _waiting_files(settings, waiting)


# a local directory


def _root(root: Path, bucket: str, *, has_waiting: bool) -> Finding:
    subject = f"STORAGE_VERIFY_ROOT {root}"
    if remedy := _unreadable(root):
        return Finding(Level.FAILED, subject, remedy)
    if (root / bucket).exists():
        if remedy := _unreadable(root / bucket):
            return Finding(Level.FAILED, f"{subject}, directory {bucket}", remedy)
        missing = "" if any(os.scandir(root / bucket)) else f"its directory {bucket} is empty"
    elif root.name == bucket:
        return Finding(Level.FAILED, subject, f"is the bucket itself: name the directory above it, {root.parent}")
    else:
        missing = f"has no directory {bucket}, which is the bucket of LEARNING_STORAGE_BUCKET"
    if missing and has_waiting:
        return Finding(Level.FAILED, subject, f"{missing}, but pictures wait. Correct the setting, or mount the directory")
    return Finding(Level.WARNING, subject, f"{missing}. {_SOON}") if missing else Finding(Level.OK, subject)


def _unreadable(directory: Path) -> str:
    """The remedy for a directory that cannot be listed and entered, or ''."""
    try:
        with os.scandir(directory) as entries:
            next(entries, None)
        (directory / ".").stat()
    except FileNotFoundError:
        return "does not exist: correct STORAGE_VERIFY_ROOT, or mount the directory"
    except NotADirectoryError:
        return "is not a directory: correct STORAGE_VERIFY_ROOT"
    except PermissionError:
        return "cannot be read by the user of the service: give that user the rights to list and enter it"
    except OSError as error:
        return f"cannot be read ({os.strerror(error.errno or 0)}): check the disk or its network"
    return ""


# the object store


def _store(settings: WorkerSettings) -> Finding:
    """Ask for the bucket. The name of the host is from the settings, and the key is in no message."""
    subject, holder = f"object store {settings.supabase_url}", DeadlineHolder()
    until_seconds = time.monotonic() + STORE_SECONDS
    holder.deadline = Deadline(until_seconds, until_seconds, STORE_SECONDS)
    key, bucket = settings.supabase_service_role_key.get_secret_value(), settings.learning_storage_bucket
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    try:
        with (
            bounded_client(settings.supabase_url, holder) as client,
            client.stream("GET", f"/storage/v1/bucket/{bucket}", headers=headers) as response,
        ):
            body = bounded(response.iter_raw(), _MAX_REPLY_BYTES)
    except (httpx.HTTPError, UnicodeError, ValueError) as error:
        return Finding(Level.FAILED, subject, _no_reply(error))
    remedy = _refusal(response.status_code, body, bucket)
    return Finding(Level.FAILED, subject, remedy) if remedy else Finding(Level.OK, f"{subject}, bucket {bucket}")


def _no_reply(error: Exception) -> str:
    """The remedy for a request without a reply."""
    if isinstance(error, UnicodeError | httpx.LocalProtocolError):
        return "SUPABASE_SERVICE_ROLE_KEY has characters that no key has: copy it again"
    if reason := _certificate_fault(error):
        return f"its certificate is rejected ({reason}): renew it, or correct the host in SUPABASE_URL"
    if isinstance(error, httpx.HTTPError) and is_unresolved(error):
        return "its host name is not resolved: correct SUPABASE_URL, or repair the name servers of this host"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "no connection: start the store, or correct host and port in SUPABASE_URL"
    return f"no usable reply ({type(error).__name__}): check http or https and the port in SUPABASE_URL, and the store's log"


def _certificate_fault(error: BaseException | None) -> str:
    """The reason in OpenSSL's words if the server's certificate was rejected, or ''."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        if isinstance(error, ssl.SSLError):
            return error.reason or "no TLS at this port"
        error = error.__cause__ or error.__context__
    return ""


def _refusal(status_code: int, body: bytes, bucket: str) -> str:
    """The remedy for a reply, or ''. The store wraps some codes: 400 with `statusCode` 404 is a bucket that does not exist."""
    document = _document(body)
    code = _inner_code(document) if status_code == httpx.codes.BAD_REQUEST else status_code
    if code in _KEY_REJECTED:
        return "the key is rejected: correct SUPABASE_SERVICE_ROLE_KEY, which is the service role's and not the anonymous one"
    if code == httpx.codes.NOT_FOUND:
        return f"has no bucket {bucket}: correct LEARNING_STORAGE_BUCKET or SUPABASE_URL, or create the bucket"
    if httpx.codes.is_redirect(code):
        return f"redirects to another address ({code}), which is not followed with the key: name the final address"
    if code == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(code):
        return f"answers {code}: read the store's log, and run this again"
    if code != httpx.codes.OK or bucket not in {document.get("id"), document.get("name")}:
        return f"answers {code}, but not as an object store: correct SUPABASE_URL"
    return ""


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _inner_code(document: Mapping[str, Any]) -> int:
    code = str(document.get("statusCode", ""))
    return int(code) if code.isdecimal() and len(code) == len("404") else int(httpx.codes.BAD_REQUEST)


# files of waiting submissions


def _waiting_files(settings: WorkerSettings, waiting: Rows) -> Finding:
    """Read the files by the worker's own code."""
    reasons = [reason for row in waiting if (reason := file_fault(settings, row))]
    subject = f"files of {counted(len(waiting), 'waiting submission')}"
    if not reasons:
        return Finding(Level.OK, subject)
    remedy = "correct STORAGE_VERIFY_ROOT, SUPABASE_URL or LEARNING_STORAGE_BUCKET, or the rights of the files"
    return Finding(Level.FAILED, subject, f"{len(reasons)} cannot be read ({', '.join(sorted(set(reasons)))}): {remedy}")
