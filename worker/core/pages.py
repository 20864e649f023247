"""The pages that the web side has rendered from a PDF."""

from collections.abc import Mapping
from typing import Any


def page_keys(submission: Mapping[str, Any]) -> list[str]:
    """Their storage keys in order; none where the metadata says nothing that makes sense, were it of one page alone."""
    metadata = submission["internal_metadata"]
    keys = metadata.get("page_keys") if isinstance(metadata, dict) else None
    return keys if isinstance(keys, list) and all(isinstance(key, str) for key in keys) else []
