"""The kernel's kills for want of memory: found in recorded files, each put down to one death, and to none for ever."""

from pathlib import Path

import pytest

from supervisor.adapters.cgroup import KEPT_SECONDS, OomWatch, own_memory_events

EVENTS = "low 0\nhigh 0\nmax 31\noom 9\noom_kill {}\noom_group_kill 7\n"
NOW = 100.0


def written(path: Path, oom_kills: int) -> Path:
    path.write_text(EVENTS.format(oom_kills))
    return path


def test_each_kill_is_one_death(tmp_path: Path) -> None:
    """What was counted before the start is nobody's; two kills are two deaths, and the third death is another matter."""
    events = written(tmp_path / "memory.events", 5)
    watch = OomWatch(events)
    assert not watch.claim(NOW)
    written(events, 7)
    assert [watch.claim(NOW), watch.claim(NOW), watch.claim(NOW)] == [True, True, False]


def test_a_kill_of_somebody_else_is_forgotten(tmp_path: Path) -> None:
    """A grandchild that the kernel took is no reason to call a later death so."""
    events = written(tmp_path / "memory.events", 0)
    watch = OomWatch(events)
    written(events, 1)
    watch.look(NOW)
    assert not watch.claim(NOW + KEPT_SECONDS)


def test_a_kill_is_remembered_until_its_process_has_ended(tmp_path: Path) -> None:
    """Whoever held gigabytes takes a while to be gone."""
    events = written(tmp_path / "memory.events", 0)
    watch = OomWatch(events)
    written(events, 1)
    watch.look(NOW)
    assert watch.claim(NOW + KEPT_SECONDS - 1)


def test_without_a_file_there_is_no_kill() -> None:
    """No cgroup v2: every death by SIGKILL is a signal."""
    watch = OomWatch(None)
    watch.look(NOW)
    assert (watch.claim(NOW), watch.fds) == (False, set())


@pytest.mark.parametrize(
    ("cgroup", "root", "below"),
    [
        ("0::/system.slice/learning-supervisor.service\n", "/", "system.slice/learning-supervisor.service"),
        ("12:memory:/elsewhere\n0::/\n", "/", ""),  # in a container with a namespace of its own
        ("0::/docker/abc/worker\n", "/docker/abc", "worker"),  # in one that sees a part of the host's tree
    ],
)
def test_our_own_group_is_found(tmp_path: Path, cgroup: str, root: str, below: str) -> None:
    """From what the kernel says of the process and of its mounts."""
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
    """Neither where /proc says nothing, nor where the group has no memory controller."""
    assert own_memory_events(tmp_path / "nothing") is None
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "mountinfo").write_text(f"35 24 0:30 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    assert own_memory_events(tmp_path) is None
