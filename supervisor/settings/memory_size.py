"""An amount of memory in a setting: bytes, 8G, or a share in per cent."""

import re
from dataclasses import dataclass

from worker.amounts import LEAST_MEMORY_BYTES, bytes_in

_SHARE = re.compile(r"(\d{1,3})%")


@dataclass(frozen=True, slots=True)
class MemorySize:
    """One of the two numbers is 0, and both for an empty setting. Units are powers of 1024, as in systemd."""

    size_bytes: int = 0
    share: float = 0.0  # in (0, 1]

    @classmethod
    def parse(cls, text: str) -> "MemorySize":
        """Raises ValueError for any other text."""
        if not text.strip():
            return cls()
        if share := _SHARE.fullmatch(text.strip()):
            if 0 < int(share[1]) <= 100:
                return cls(share=int(share[1]) / 100)
        elif (size_bytes := _bytes_in(text)) >= 0:
            return cls(size_bytes)
        raise ValueError("give a size such as 8G, in bytes without a unit, or a share from 1% to 100%")

    def of(self, whole_bytes: int) -> int:
        """The size in bytes, where a share refers to `whole_bytes`."""
        return self.size_bytes or int(self.share * whole_bytes)


def _bytes_in(text: str) -> int:
    """The size, or -1 for a text that is none. Raises ValueError for a plain number whose unit is missing."""
    if text.strip().isdecimal():
        return bytes_in(text, LEAST_MEMORY_BYTES)
    try:
        return bytes_in(text)
    except ValueError:
        return -1
