"""The disk under the server is full when answers are to be written."""

import ctypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from testkit.database import temporary_database
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.outage import set_scene
from testkit.postgres import Cluster
from testkit.site import Site, open_site

pytestmark = pytest.mark.second_tier

DISK_BYTES = 256 << 20
MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Its path is short, as a socket lies in there."""
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as place:
        path = Path(place)
        if _libc.mount(b"none", os.fsencode(path), b"tmpfs", 0, f"size={DISK_BYTES},mode=711".encode()):
            pytest.skip(f"mount: {os.strerror(ctypes.get_errno())}; .ci/run does this in a namespace of its own")
        try:
            yield path
        finally:
            _libc.umount2(os.fsencode(path), MNT_DETACH)


@pytest.fixture
def site(small_disk: Path, fleets_simulator: SimulatorProcess) -> Iterator[Site]:
    with (
        Cluster.start(small_disk) as cluster,
        temporary_database(cluster.admin_dsn) as database,
        open_site(database, fleets_simulator) as opened,
    ):
        yield opened


def fill(path: Path) -> None:
    """Writes until not one byte is left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0")


def test_a_full_disk(site: Site, small_disk: Path) -> None:
    """An answer that finds no room is kept and written later. Status gives the reason, and no process ends."""
    scene = set_scene(site)
    filler = small_disk / "filler"
    fill(filler)
    scene.answer()
    scene.until_lost("DiskFull")
    scene.fleet.until_state("degraded")
    assert "(DiskFull)" in scene.fleet.status()["message"]
    filler.unlink()
    scene.assert_survived(site)
