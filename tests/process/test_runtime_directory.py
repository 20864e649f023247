"""The runtime directory is removed, renamed, replaced, full, read-only, open to others, or contains strange files."""

import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testkit.live_fleet import LiveFleet
from testkit.site import FEEDBACK_MODEL, LONGEST_CALL_SECONDS, Site
from testkit.supervisor_process import run_command
from testkit.tmpfs import fill, mounted, read_only
from testkit.waiting import until
from tests.tiers import in_two_tiers

OK, CANNOT_CREATE, CONFIG = 0, 73, 78
LONG_LEASE_SECONDS = 600
STRANGE_FILES = {"fifo": "0badcaf0", "socket": "0badcaf1", "directory": "0badcaf2", "symlink": "0badcaf3", "device": "0badcaf4"}
UMASK = 'umask "$1"; shift; exec "$@"'


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def socket_of(fleet: LiveFleet) -> Path:
    return fleet.runtime_directory / f"{fleet.instance():08x}.sock"


def start_in_a_job(site: Site) -> LiveFleet:
    """One worker waits for an answer which never comes, with a long lease."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    site.enter_text()
    fleet = site.start(worker_lease_seconds=LONG_LEASE_SECONDS, ai_timeout_feedback=LONGEST_CALL_SECONDS)
    site.until_in_call(fleet, FEEDBACK_MODEL)
    return fleet


def command(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the site's runtime directory."""
    return run_command(site.directory, {"RUNTIME_DIRECTORY": str(site.directory / "run")}, *arguments)


# While it runs


def until_restored(fleet: LiveFleet) -> None:
    """Wait until the supervisor has logged it, and until the socket answers again."""
    fleet.until_logged("runtime_directory_restored")
    until(lambda: fleet.current_status() != {})


def test_a_removed_directory_is_made_again(site: Site) -> None:
    """The instance keeps its number, `status` finds it again, directory and socket are private, and the stop is clean."""
    fleet = site.start()
    fleet.until_idle()
    number = fleet.instance()
    shutil.rmtree(fleet.runtime_directory)
    until_restored(fleet)
    assert fleet.instance() == number
    assert (mode(fleet.runtime_directory), mode(socket_of(fleet))) == (0o700, 0o600)
    assert command(site, "status").returncode == OK
    assert fleet.stop() == OK
    assert list(fleet.runtime_directory.iterdir()) == []


@pytest.mark.second_tier
def test_the_leases_are_found_after_a_removal_and_a_death(site: Site) -> None:
    """The directory is removed, the supervisor is killed: the next one finds the leases by the file that was made again."""
    dead = start_in_a_job(site)
    shutil.rmtree(dead.runtime_directory)
    until_restored(dead)
    number = f"{dead.instance():08x}"
    newcomer = site.start()
    newcomer.until_idle()
    assert newcomer.logged("dead_instance_lease") == []
    dead.kill()
    assert [each["instance"] for each in newcomer.until_logged("dead_instance_lease")] == [number]
    site.until_done_once([job["submission_id"] for job in site.jobs()])


@pytest.mark.second_tier
def test_a_renamed_directory_is_made_again(site: Site) -> None:
    """An instance that uses the renamed directory reclaims nothing, because the file there is still locked."""
    fleet = start_in_a_job(site)
    fleet.runtime_directory.rename(renamed := site.directory / "renamed")
    until_restored(fleet)
    assert sorted(path.suffix for path in renamed.iterdir()) == [".instance", ".sock"]
    site.start(runtime_directory=renamed).until_idle()
    assert [job["status"] for job in site.jobs()] == ["leased"]


@pytest.mark.second_tier
def test_a_lost_directory_is_told_until_it_can_be_made(site: Site) -> None:
    """A file has taken its name: one line tells it, jobs go on, and the directory is made as soon as the name is free."""
    fleet = site.start()
    fleet.until_idle()
    fleet.runtime_directory.rename(site.directory / "renamed")
    fleet.runtime_directory.touch()
    (lost,) = fleet.until_logged("runtime_directory_lost")
    assert "RUNTIME_DIRECTORY" in lost["reason"]
    site.until_done_once(site.enter_texts(2))
    fleet.runtime_directory.unlink()
    until_restored(fleet)
    assert len(fleet.logged("runtime_directory_lost")) == 1


def test_a_removed_socket_is_bound_again(site: Site) -> None:
    """Only the socket is removed, or replaced by a pipe: the monitor binds it again, and both are the same process."""
    fleet = site.start()
    monitor, path = fleet.monitor_pid(), socket_of(fleet)
    path.unlink()
    until(lambda: fleet.current_status() != {})
    path.unlink()
    os.mkfifo(path)
    until(lambda: fleet.current_status() != {})
    assert (fleet.monitor_pid(), mode(path)) == (monitor, 0o600)


def test_a_stop_without_a_directory_is_clean(site: Site) -> None:
    """The name is taken by a file, so nothing can be removed at the end: code 0, and no traceback."""
    fleet = site.start()
    fleet.until_idle()
    shutil.rmtree(fleet.runtime_directory)
    fleet.runtime_directory.touch()
    fleet.until_logged("runtime_directory_lost")
    assert fleet.stop() == OK
    assert "Traceback" not in fleet.log_path.read_text()


# At the start


@pytest.mark.parametrize("size_bytes", in_two_tiers([0, 5], {5}))
def test_a_full_directory_is_no_wrong_setting(site: Site, size_bytes: int) -> None:
    """No byte or only some fit: one line, a code after which systemd starts it again, and no file is left."""
    full = site.start(wrapper=("prlimit", f"--fsize={size_bytes}"), stderr=subprocess.PIPE)
    assert full.exit_code() == CANNOT_CREATE
    assert_one_line(full)
    assert list(full.runtime_directory.iterdir()) == []


def assert_one_line(fleet: LiveFleet) -> None:
    assert fleet.process.stderr
    text = fleet.process.stderr.read().decode()
    assert "RUNTIME_DIRECTORY" in text
    assert "Traceback" not in text
    assert text.startswith("learning-supervisor: ")


def make_strange_files(directory: Path) -> None:
    """Make one of each kind under each name that an instance uses."""
    directory.mkdir(mode=0o700)
    for suffix in ("sock", "instance", "starting"):
        os.mkfifo(directory / f"{STRANGE_FILES['fifo']}.{suffix}")
        with socket.socket(socket.AF_UNIX) as unheard:
            unheard.bind(str(directory / f"{STRANGE_FILES['socket']}.{suffix}"))
        (directory / f"{STRANGE_FILES['directory']}.{suffix}").mkdir()
        (directory / f"{STRANGE_FILES['symlink']}.{suffix}").symlink_to("missing")
        if os.getuid() == 0:
            os.mknod(directory / f"{STRANGE_FILES['device']}.{suffix}", stat.S_IFCHR | 0o600, os.makedev(1, 5))


def test_strange_files_hang_no_process(site: Site) -> None:
    """Pipes, sockets, directories, symlinks and devices named like ours: start, `status` and the search for the dead go on."""
    make_strange_files(site.directory / "run")
    dead = start_in_a_job(site)
    dead.kill()
    heir = site.start()
    heir.until_logged("dead_instance_lease")
    site.until_done_once([job["submission_id"] for job in site.jobs()])
    heir.until_state("ok")
    assert command(site, "status").returncode == OK
    assert heir.logged("exited") == []
    assert heir.stop() == OK


@pytest.mark.second_tier
def test_a_mute_socket_delays_no_command_for_long(site: Site) -> None:
    """A socket that accepts and never answers is not an instance, and the one that runs is still found."""
    fleet = site.start()
    fleet.until_idle()
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(fleet.runtime_directory / "0badcafe.sock"))
        mute.listen()
        assert command(site, "status").returncode == OK


@pytest.mark.parametrize("umask", in_two_tiers(["000", "022", "777"], {"022"}))
def test_directory_and_files_are_private_for_any_umask(site: Site, umask: str) -> None:
    """Missing parents are private too, and a socket that others could use would let them scale."""
    directory = site.directory / "parent" / "run"
    fleet = site.start(wrapper=("sh", "-c", UMASK, "sh", umask), runtime_directory=directory)
    fleet.until_idle()
    assert {mode(path) for path in (directory, directory.parent)} == {0o700}
    assert mode(socket_of(fleet)) == 0o600


def test_an_open_directory_is_closed(site: Site) -> None:
    """A directory of this user that others can enter is closed to them, if only files of instances are in it."""
    directory = site.directory / "run"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    (directory / "0badcafe.sock").touch()
    site.start().until_idle()
    assert mode(directory) == 0o700


def test_an_open_directory_of_other_programs_is_rejected(site: Site) -> None:
    """Its mode stays, because another program may need it: the setting is wrong, and one line tells it."""
    directory = site.directory / "run"
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "other.pid").touch()
    rejected = site.start(stderr=subprocess.PIPE)
    assert rejected.exit_code() == CONFIG
    assert_one_line(rejected)
    assert mode(directory) == 0o755


# A file system of its own


@pytest.fixture
def small_disk(site: Site) -> Iterator[Path]:
    """The runtime directory is a file system of two pages and few files."""
    (path := site.directory / "run").mkdir()
    with ExitStack() as stack:
        try:
            stack.enter_context(mounted(path, "size=8k,nr_inodes=8,mode=700"))
        except OSError as error:
            pytest.skip(f"{error}; .ci/run does this in a namespace of its own")
        yield path


@pytest.mark.second_tier
def test_a_start_on_a_full_or_read_only_disk(site: Site, small_disk: Path) -> None:
    """No block, no inode, no right to write: the same code and one line each, and no file is left."""
    fill(filler := small_disk / "filler")
    assert_no_start(site)
    filler.unlink()
    fillers = [small_disk / f"{number}.sock" for number in range(7)]
    for path in fillers:
        path.touch()
    assert_no_start(site)
    for path in fillers:
        path.unlink()
    with read_only(small_disk):
        assert_no_start(site)
    assert list(small_disk.iterdir()) == []


def assert_no_start(site: Site) -> None:
    failed = site.start(stderr=subprocess.PIPE)
    assert failed.exit_code() == CANNOT_CREATE
    assert_one_line(failed)


@pytest.mark.second_tier
def test_a_stop_on_a_read_only_disk_is_clean(site: Site, small_disk: Path) -> None:
    """The disk becomes read-only while the fleet runs: jobs go on, `status` answers, and the stop has code 0."""
    fleet = site.start()
    fleet.until_idle()
    with read_only(small_disk):
        site.until_done_once(site.enter_texts(2))
        assert command(site, "status").returncode == OK
        assert fleet.stop() == OK
    assert "Traceback" not in fleet.log_path.read_text()


@pytest.mark.second_tier
def test_a_full_disk_while_it_runs(site: Site, small_disk: Path) -> None:
    """The lock is removed and cannot be written again: one line tells it, and it is made as soon as there is room."""
    fleet = site.start()
    fleet.until_idle()
    number = fleet.instance()
    fill(filler := small_disk / "filler")
    (small_disk / f"{number:08x}.instance").unlink()
    fill(filler)
    os.kill(fleet.pid, signal.SIGCHLD)
    fleet.until_logged("runtime_directory_lost")
    assert [path for path in small_disk.iterdir() if path.suffix == ".starting"] == []
    filler.unlink()
    fleet.until_logged("runtime_directory_restored")
    assert fleet.stop() == OK
