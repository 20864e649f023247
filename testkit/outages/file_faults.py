"""Faults of the local storage root."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from testkit.outages.matrix import Way
from testkit.outages.silent_disk import silent_disk


def root_fault(root: Path, way: Way) -> AbstractContextManager[None]:
    """Let the root fail for the length of the block. Raises NoSilentDisk."""
    match way:
        case Way.HUNG:
            return silent_disk(root)
        case Way.UNREADABLE:
            return _without_rights(root)
        case _:
            return _replaced(root, way)


@contextmanager
def _without_rights(root: Path) -> Iterator[None]:
    root.chmod(0)
    try:
        yield
    finally:
        root.chmod(0o755)


@contextmanager
def _replaced(root: Path, way: Way) -> Iterator[None]:
    """Put an empty directory, a file or nothing in the place of the root."""
    aside = root.with_name(f"{root.name}.aside")
    root.rename(aside)
    if way is Way.EMPTY:
        root.mkdir()
    elif way is Way.NO_DIRECTORY:
        root.touch()
    try:
        yield
    finally:
        if root.is_dir():
            shutil.rmtree(root)
        root.unlink(missing_ok=True)
        aside.rename(root)
