"""Points in time as Go prints them."""

import os
import subprocess
import sys

import pytest

from testkit.ollama_simulator.process import PROJECT_ROOT
from testkit.ollama_simulator.timestamp import utc_text

PRINT = "from testkit.ollama_simulator.timestamp import local_text, utc_text; print(utc_text({ns}), local_text({ns}))"
SUMMER_NS = 1_787_000_000_123_456_780
WINTER_NS = 1_795_422_503_000_000_000


@pytest.mark.parametrize(
    ("unix_ns", "text"),
    [(SUMMER_NS, "2026-08-17T20:53:20.12345678Z"), (WINTER_NS, "2026-11-23T08:28:23Z"), (0, "1970-01-01T00:00:00Z")],
)
def test_zeros_at_the_end_are_left_out(unix_ns: int, text: str) -> None:
    """Nanoseconds are printed as far as there are any (RFC3339Nano)."""
    assert utc_text(unix_ns) == text


@pytest.mark.parametrize(
    ("zone", "unix_ns", "offset"),
    [
        ("Europe/Berlin", SUMMER_NS, "+02:00"),
        ("Europe/Berlin", WINTER_NS, "+01:00"),
        ("UTC", WINTER_NS, "Z"),
        ("XXX3:30", WINTER_NS, "-03:30"),
    ],
)
def test_zones(zone: str, unix_ns: int, offset: str) -> None:
    """created_at is UTC whatever the server's zone, expires_at has that zone's offset at that moment."""
    command = [sys.executable, "-c", PRINT.format(ns=unix_ns)]
    result = subprocess.run(command, env={**os.environ, "TZ": zone}, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    utc, local = result.stdout.split()
    assert utc.endswith("Z")
    assert local.endswith(offset)
