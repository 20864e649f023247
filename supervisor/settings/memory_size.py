"""An amount of memory in a setting: bytes, 8G, or a share in per cent."""

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"(\d{1,15})([KMGT]?)(?:i?B)?", re.IGNORECASE)
_SHARE = re.compile(r"(\d{1,3})%")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


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
        if written := _WRITTEN.fullmatch(text.strip()):
            return cls(int(written[1]) * 1024 ** _POWERS[written[2].upper()])
        share = _SHARE.fullmatch(text.strip())
        if share is None or not 0 < int(share[1]) <= 100:
            raise ValueError("give bytes, such as 8589934592 or 8G, or a share from 1% to 100%")
        return cls(share=int(share[1]) / 100)

    def of(self, whole_bytes: int) -> int:
        """The size in bytes, where a share refers to `whole_bytes`."""
        return self.size_bytes or int(self.share * whole_bytes)
