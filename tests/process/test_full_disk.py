"""The disk under the server is full when answers are to be written."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testkit.database import temporary_database
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.outage import set_scene
from testkit.postgres import Cluster
from testkit.site import Site, open_site
from testkit.tmpfs import fill, mounted

pytestmark = pytest.mark.second_tier

DISK_BYTES = 256 << 20


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Its path is short, as a socket lies in there."""
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as place, ExitStack() as stack:
        try:
            stack.enter_context(mounted(Path(place), f"size={DISK_BYTES},mode=711"))
        except OSError as error:
            pytest.skip(f"{error}; .ci/run does this in a namespace of its own")
        yield Path(place)


@pytest.fixture
def site(small_disk: Path, fleets_simulator: SimulatorProcess) -> Iterator[Site]:
    with (
        Cluster.start(small_disk) as cluster,
        temporary_database(cluster.admin_dsn) as database,
        open_site(database, fleets_simulator) as opened,
    ):
        yield opened


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
