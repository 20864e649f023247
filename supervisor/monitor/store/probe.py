"""One probe of the store: is the bucket there and the key accepted, or can the root be listed?"""

from http import HTTPStatus

from supervisor.monitor.outgoing import FAILURES, Request, RequestEnd, is_unreachable, is_unresolved, send
from supervisor.monitor.store.root import read_in_child
from worker.documents.errors import (
    MAX_ERROR_BYTES,
    RootUnreadable,
    StoreBusy,
    StoreFailed,
    StoreFileMissing,
    StoreNameUnresolved,
    StoreRejected,
    StoreUnreachable,
    error_of_answer,
)
from worker.settings import WorkerSettings

PROBE_SECONDS = 3.0  # for one probe: with the wait before it, a return is found within five seconds


class StoreProbe:
    """The store that the settings name. No method raises: a failure is a value."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    async def run(self) -> RequestEnd:
        settings = self._settings
        if settings.storage_verify_root:
            return RequestEnd(await read_in_child(settings.storage_verify_root, settings.learning_storage_bucket, PROBE_SECONDS))
        return await self._of_bucket() if settings.supabase_url else RequestEnd(RootUnreadable.__name__)

    async def _of_bucket(self) -> RequestEnd:
        settings = self._settings
        key = settings.supabase_service_role_key.get_secret_value()
        url = f"{settings.supabase_url}/storage/v1/bucket/{settings.learning_storage_bucket}"
        headers = {"apikey": key, "Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}
        try:
            answer = await send(Request("GET", url, PROBE_SECONDS, lambda _status: MAX_ERROR_BYTES, headers=headers))
        except FAILURES as error:
            return RequestEnd(_error_class(error))
        if answer.status == HTTPStatus.OK:
            return RequestEnd("" if answer.body.lstrip().startswith(b"{") else StoreFailed.__name__)  # else of another server
        found = error_of_answer(answer.status, answer.body, answer.retry_after_seconds)
        if isinstance(found, StoreFileMissing):
            return RequestEnd(StoreRejected.__name__)  # the bucket is missing
        return RequestEnd(type(found).__name__, found.retry_after_seconds if isinstance(found, StoreBusy) else 0.0)


def _error_class(error: Exception) -> str:
    if is_unresolved(error):
        return StoreNameUnresolved.__name__
    return StoreUnreachable.__name__ if is_unreachable(error) else StoreFailed.__name__
