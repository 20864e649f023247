"""A file system that answers no request, mounted over a directory until this process ends: fuse(4).

`python -m testkit.outages.silent_disk DIRECTORY` prints `mounted`, or the reason for which it cannot, and ends with its input.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
MNT_DETACH = 2
MOUNTED = "mounted"


class NoSilentDisk(Exception):
    """This system gives no such file system."""


@contextmanager
def silent_disk(directory: Path) -> Iterator[None]:
    """Mount it for the length of the block. Raises NoSilentDisk."""
    command = [sys.executable, "-m", "testkit.outages.silent_disk", str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT_ROOT, text=True) as disk:
        assert disk.stdin is not None
        assert disk.stdout is not None
        answer = disk.stdout.readline().strip()
        try:
            if answer != MOUNTED:
                raise NoSilentDisk(answer)
            yield
        finally:
            disk.stdin.close()


def _main(directory: str) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return print(f"no FUSE: {error}", flush=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if library.mount(b"silent", directory.encode(), b"fuse", 0, options):
        return print(f"no mount: {os.strerror(ctypes.get_errno())}", flush=True)
    print(MOUNTED, flush=True)
    sys.stdin.read()
    os.close(fd)  # ends every wait for the disk
    library.umount2(directory.encode(), MNT_DETACH)
    return None


if __name__ == "__main__":
    _main(sys.argv[1])
