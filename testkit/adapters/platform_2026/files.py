"""Files of submissions, in the directory of STORAGE_VERIFY_ROOT."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testkit.adapters.platform_2026.ports import AdapterError


def picture_of(submission: Mapping[str, Any], transient: type[AdapterError], permanent: type[AdapterError]) -> bytes:
    """Return the file's bytes. A missing file may come later, one with another hash never changes."""
    try:
        content: bytes = (Path(os.getenv("STORAGE_VERIFY_ROOT", "/nonexistent")) / submission["storage_key"]).read_bytes()
    except OSError:
        raise transient("image_unavailable") from None
    if submission["sha256"] and hashlib.sha256(content).hexdigest() != submission["sha256"]:
        raise permanent("hash_mismatch")
    return content
