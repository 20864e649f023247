"""Times in Go's format: RFC 3339, up to nine digits of a second, no trailing zeros."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo

FOREVER_NS = 2**63 - 1  # time.Duration's largest value, about 292 years


def utc_text(unix_ns: int) -> str:
    """Format a `created_at`, which is always UTC."""
    return _text(unix_ns, UTC)


def local_text(unix_ns: int) -> str:
    """Format an `expires_at`, in the server's zone, with Z for UTC."""
    return _text(unix_ns, _zone_at(unix_ns))


def _text(unix_ns: int, zone: tzinfo) -> str:
    seconds, fraction_ns = divmod(unix_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, zone)
    fraction = f".{fraction_ns:09d}".rstrip("0").rstrip(".")
    offset = moment.strftime("%z")
    suffix = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:5]}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{suffix}"


def _zone_at(unix_ns: int) -> tzinfo:
    offset = datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC).astimezone().utcoffset()
    return timezone(offset or timedelta(0))
