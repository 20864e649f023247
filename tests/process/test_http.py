"""Malformed requests at the control socket, and foreign names at STATUS_ADDR."""

import json
import os
import socket

import httpx
import pytest

from supervisor.monitor.http import is_own_host
from testkit.live_fleet import LiveFleet
from testkit.site import Site
from testkit.waiting import until

BAD_REQUEST, TIMEOUT, TOO_LARGE, MISDIRECTED = 400, 408, 413, 421
ANSWER_SECONDS = 20.0
MALFORMED = {
    "no JSON": (b"{", b"", BAD_REQUEST),
    "no object": (b"[1]", b"", BAD_REQUEST),
    "deep": (b"[" * 2000 + b"]" * 2000, b"", BAD_REQUEST),
    "deeper": (b"[" * 10_000 + b"]" * 10_000, b"", TOO_LARGE),
    "unknown charset": (b"{}", b"Content-Type: application/json; charset=xyz\r\n", BAD_REQUEST),
    "charset that is no text": (b"{}", b"Content-Type: application/json; charset=hex\r\n", BAD_REQUEST),
    "no UTF-8": (b'{"a": "\xff"}', b"", BAD_REQUEST),
    "number of many digits": (b'{"workers": ' + b"9" * 4000 + b"}", b"", BAD_REQUEST),
    "infinite number": (b'{"workers": 1e999}', b"", BAD_REQUEST),
    "negative number": (b'{"workers": -1}', b"", BAD_REQUEST),
}


@pytest.fixture
def fleet(site: Site) -> LiveFleet:
    fleet = site.start()
    fleet.until_idle()
    return fleet


def exchange(fleet: LiveFleet, head: bytes, body: bytes, path: bytes = b"/scale") -> tuple[int, bytes]:
    """Send a request as it is, and return status and body of the answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_SECONDS)
        client.connect(str(fleet.runtime_directory / f"{fleet.instance():08x}.sock"))
        client.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\n" + body)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


def test_malformed_bodies_get_one_line_of_json(fleet: LiveFleet) -> None:
    """Each has a status and a reason, none changes anything, and the monitor stays."""
    monitor = fleet.monitor_pid()
    for name, (body, head, expected) in MALFORMED.items():
        for path in (b"/scale", b"/reload"):
            length = b"Content-Length: %d\r\n" % len(body)
            status, answer = exchange(fleet, head + length, body, path)
            assert (status, len(json.loads(answer)["problems"]), answer.count(b"\n")) == (expected, 1, 0), name
    assert (fleet.monitor_pid(), fleet.logged("bug"), fleet.logged("scaled"), fleet.logged("reloaded")) == (monitor, [], [], [])


@pytest.mark.second_tier
def test_a_wrong_content_length_ends_the_request(fleet: LiveFleet) -> None:
    """Longer than the body: the wait for the rest ends. No number, negative, too large, or two of them: rejected at once."""
    monitor = fleet.monitor_pid()
    status, answer = exchange(fleet, b"Content-Length: 50\r\n", b"{}")
    assert (status, "Content-Length" in json.loads(answer)["problems"][0]) == (TIMEOUT, True)
    for length in (b"x", b"-5", b"9" * 30, b"2\r\nContent-Length: 3"):
        assert exchange(fleet, b"Content-Length: " + length + b"\r\n", b"{}")[0] == BAD_REQUEST
    assert (fleet.monitor_pid(), fleet.logged("bug")) == (monitor, [])


def test_foreign_hosts_are_rejected(fleet: LiveFleet) -> None:
    """A page whose name leads to this host (DNS rebinding) reads neither metrics nor state. A scraper on this host does."""
    address = until(lambda: fleet.status()["metrics_address"])
    port = address.rpartition(":")[2]
    for path in ("/metrics", "/healthz"):
        for host in ("evil.example", f"evil.example:{port}", f"localhost.evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
            answer = httpx.get(f"http://{address}{path}", headers={"Host": host}, trust_env=False)
            assert (answer.status_code, answer.text.count("\n")) == (MISDIRECTED, 1)
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"{socket.gethostname()}:{port}"):
            assert httpx.get(f"http://{address}{path}", headers={"Host": host}, trust_env=False).is_success, host


def test_names_of_this_host() -> None:
    """With and without domain, port, and final dot. Another host's name that begins with this one's is foreign."""
    own = ("", "school", "school:80", "SCHOOL.example.org.:80", "localhost.", "10.0.0.7:9464", "[fe80::1]", "[fe80::1]:1")
    foreign = ("school.evil.example", "example.org", "localhost.evil.example", "1.2.3.4.5", "school@evil.example", "[::1].evil")
    assert [host for host in own if not is_own_host(host, "School.example.org")] == []
    assert [host for host in foreign if is_own_host(host, "School.example.org")] == []


def test_other_users_cannot_reach_the_socket(fleet: LiveFleet) -> None:
    """Neither the directory nor the socket has rights for others."""
    path = fleet.runtime_directory / f"{fleet.instance():08x}.sock"
    assert [os.lstat(each).st_mode & 0o077 for each in (path, path.parent)] == [0, 0]
