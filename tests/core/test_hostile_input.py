"""Hostile storage keys and metadata have no effect outside the submission."""

import pytest

from supervisor.settings.model import parse
from worker.core.errors import VisionPermanentError
from worker.documents.storage import Storage, page_keys
from worker.ipc.contract import ErrorCode

STORE = {
    "AI_BACKEND": "local",
    "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning",
    "SUPABASE_URL": "http://127.0.0.1:9",  # the discard port: nothing listens, and no request may be sent
    "SUPABASE_SERVICE_ROLE_KEY": "key",
}


@pytest.mark.parametrize("key", ["submissions/../../secret/x.png", "submissions/./x.png", "submissions//x.png", "..", "a/../b"])
def test_a_storage_key_stays_in_its_bucket(key: str) -> None:
    """A key that leads outside its bucket is rejected before any request."""
    with pytest.raises(VisionPermanentError) as refused:
        Storage(parse(STORE).worker).page(key)
    assert refused.value.error_code is ErrorCode.INPUT_UNSUPPORTED


@pytest.mark.parametrize(
    "metadata", [None, [1], "x", {}, {"page_keys": 5}, {"page_keys": {"a": 1}}, {"page_keys": ["a", None, "c"]}]
)
def test_invalid_metadata_contains_no_pages(metadata: object) -> None:
    """Malformed internal_metadata yields no page keys at all, not the valid part of them."""
    assert page_keys({"internal_metadata": metadata}) == []
