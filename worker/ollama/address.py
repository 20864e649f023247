"""The name of an Ollama server: a loopback URL means another server on every host and in every container."""

from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HOST_OF_CONTAINER = "host.docker.internal"  # the host, as its containers name it


def server_name(base_url: str) -> str:
    """The URL. On loopback: boot id, network namespace and port, so that two hosts do not share one server's permits.

    The host of a container has no namespace in its name, because all containers of a host reach the same server.
    """
    host, port = urlsplit(base_url).hostname, urlsplit(base_url).port or 80
    if host not in LOOPBACK | {HOST_OF_CONTAINER}:
        return base_url
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    place = "host" if host == HOST_OF_CONTAINER else Path("/proc/self/ns/net").stat().st_ino
    return f"{boot_id} {place} port {port}"
