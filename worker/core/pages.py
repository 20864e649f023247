"""The pages that the web side has rendered from a PDF."""

from collections.abc import Mapping
from typing import Any


def page_keys(submission: Mapping[str, Any]) -> list[str]:
    """Their storage keys in order; none where the metadata says nothing that makes sense."""
    metadata = submission["internal_metadata"]
    keys = metadata.get("page_keys") if isinstance(metadata, dict) else None
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
