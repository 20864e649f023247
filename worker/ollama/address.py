"""The name of an Ollama server: a loopback URL means another server on every host and in every container."""

from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def server_name(base_url: str) -> str:
    """The URL. On loopback: boot id, network namespace and port, so that two hosts do not share one server's permits."""
    if urlsplit(base_url).hostname not in LOOPBACK:
        return base_url
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot_id} {Path('/proc/self/ns/net').stat().st_ino} port {urlsplit(base_url).port or 80}"
