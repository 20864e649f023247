"""Faults of the local storage root."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testkit.outages.matrix import Way
from testkit.outages.silent_disk import silent_disk


@contextmanager
def root_fault(root: Path, way: Way) -> Iterator[None]:
    """Let the root fail for the length of the block. Raises NoSilentDisk."""
    if way is Way.HUNG:
        with silent_disk(root):
            yield
        return
    if way is Way.UNREADABLE:
        root.chmod(0)
        try:
            yield
        finally:
            root.chmod(0o755)
        return
    aside = root.with_name(f"{root.name}.aside")
    root.rename(aside)
    if way is Way.EMPTY:
        root.mkdir()
    elif way is Way.NO_DIRECTORY:
        root.touch()
    try:
        yield
    finally:
        shutil.rmtree(root) if root.is_dir() else root.unlink(missing_ok=True)
        aside.rename(root)
