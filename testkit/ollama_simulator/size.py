"""Parse sizes such as 8GiB, 512MiB, 3.2GB, 1000."""

import re

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
WRITTEN = re.compile(r"(\d+(?:\.\d+)?) ?([KMG]i?B|B|)")


def read_size(text: str) -> int:
    """Return bytes. Raises ValueError."""
    written = WRITTEN.fullmatch(text)
    if written is None:
        raise ValueError(f"{text} is not a size such as 8GiB or 500MB")
    return int(float(written[1]) * UNITS[written[2]])
