"""The pause that a busy server asks for in its header Retry-After."""

MAX_RETRY_AFTER_SECONDS = 60.0  # of a server that asks for a longer pause


def retry_after_seconds(header: str) -> float:
    """Seconds, 0 for none. A date is not read, because it belongs to another clock."""
    is_number = header.isascii() and header.isdecimal() and len(header) < len("1000000000")
    return min(float(header), MAX_RETRY_AFTER_SECONDS) if is_number else 0.0
