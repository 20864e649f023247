"""An amount of memory as an operator writes it: bytes, 8G, or a share in per cent."""

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"(\d{1,15})([KMGT]?)(?:i?B)?", re.IGNORECASE)
_SHARE = re.compile(r"(\d{1,3})%")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True, slots=True)
class MemorySize:
    """Either number is 0 where the other one was written; both, where nothing was. Units are powers of 1024, as in systemd."""

    size_bytes: int = 0
    share: float = 0.0  # in (0, 1]

    @classmethod
    def parse(cls, text: str) -> "MemorySize":
        """Raises ValueError for what is neither."""
        if not text.strip():
            return cls()
        if written := _WRITTEN.fullmatch(text.strip()):
            return cls(int(written[1]) * 1024 ** _POWERS[written[2].upper()])
        share = _SHARE.fullmatch(text.strip())
        if share is None or not 0 < int(share[1]) <= 100:
            raise ValueError("give bytes, such as 8589934592 or 8G, or a share from 1% to 100%")
        return cls(share=int(share[1]) / 100)

    def of(self, whole_bytes: int) -> int:
        """In bytes; a share is one of `whole_bytes`."""
        return self.size_bytes or int(self.share * whole_bytes)
