"""OOM kills: read from recorded files, each attributed to one exit, and forgotten after a while."""

from pathlib import Path

import pytest

from supervisor.adapters.cgroup import KEPT_SECONDS, OomWatch, own_memory_events

EVENTS = "low 0\nhigh 0\nmax 31\noom 9\noom_kill {}\noom_group_kill 7\n"
NOW = 100.0


def written(path: Path, oom_kills: int) -> Path:
    path.write_text(EVENTS.format(oom_kills))
    return path


def test_each_kill_is_attributed_to_one_exit(tmp_path: Path) -> None:
    """Kills before the start do not count. Two kills explain two exits, and a third exit has another cause."""
    events = written(tmp_path / "memory.events", 5)
    watch = OomWatch(events)
    assert not watch.claim(NOW)
    written(events, 7)
    assert [watch.claim(NOW), watch.claim(NOW), watch.claim(NOW)] == [True, True, False]


def test_a_kill_of_another_process_is_forgotten(tmp_path: Path) -> None:
    """A killed grandchild does not explain a later exit of a child."""
    events = written(tmp_path / "memory.events", 0)
    watch = OomWatch(events)
    written(events, 1)
    watch.update(NOW)
    assert not watch.claim(NOW + KEPT_SECONDS)


def test_a_kill_is_remembered_until_its_process_has_ended(tmp_path: Path) -> None:
    """A process of many gigabytes needs time to end."""
    events = written(tmp_path / "memory.events", 0)
    watch = OomWatch(events)
    written(events, 1)
    watch.update(NOW)
    assert watch.claim(NOW + KEPT_SECONDS - 1)


def test_without_a_file_there_is_no_kill() -> None:
    """Without cgroup v2 every exit by SIGKILL counts as a signal."""
    watch = OomWatch(None)
    watch.update(NOW)
    assert (watch.claim(NOW), watch.fds) == (False, set())


@pytest.mark.parametrize(
    ("cgroup", "root", "below"),
    [
        ("0::/system.slice/learning-supervisor.service\n", "/", "system.slice/learning-supervisor.service"),
        ("12:memory:/elsewhere\n0::/\n", "/", ""),  # in a container with a namespace of its own
        ("0::/docker/abc/worker\n", "/docker/abc", "worker"),  # in one that sees a part of the host's tree
    ],
)
def test_the_own_group_is_found(tmp_path: Path, cgroup: str, root: str, below: str) -> None:
    """The path follows from the kernel's files on the process and its mounts."""
    mount = tmp_path / "cgroup"
    (mount / below).mkdir(parents=True)
    events = written(mount / below / "memory.events", 0)
    proc = tmp_path / "self"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(
        f"24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n35 24 0:30 {root} {mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
    )
    assert own_memory_events(proc) == events


def test_no_group_is_no_error(tmp_path: Path) -> None:
    """Without files in /proc, or without a memory controller in the group, there is no path."""
    assert own_memory_events(tmp_path / "nothing") is None
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "mountinfo").write_text(f"35 24 0:30 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    assert own_memory_events(tmp_path) is None
