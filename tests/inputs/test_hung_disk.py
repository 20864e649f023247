"""A disk that does not answer: reading a file ends in time, because the decoder's child waits for the disk."""

import asyncio
import ctypes
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from supervisor.monitor.store.root import read_in_child
from supervisor.settings.model import parse
from testkit.inputs.files import encoded, noise
from tests.inputs.alarm import alarmed
from worker.documents import decoder, sandbox
from worker.documents.decoder import decoding
from worker.documents.errors import FileTimeout
from worker.documents.pages import open_document
from worker.documents.storage import Storage

pytestmark = pytest.mark.second_tier

DATABASE = {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://worker@localhost/learning"}
REQUEST_BYTES = 2**18
MNT_DETACH = 2
READ_SECONDS = 10.0
PICTURE = encoded(noise(64, 64), "PNG")
LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def silent_disk(directory: Path, *, takes_requests: bool) -> Iterator[None]:
    """Mount a FUSE file system (fuse(4)) that answers no request. Its program may read them all, or none."""
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"no FUSE: {error}")
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if LIBC.mount(b"silent", bytes(directory), b"fuse", 0, options):
        os.close(fd)
        pytest.skip(f"no mount: {os.strerror(ctypes.get_errno())}")
    pid = os.fork()
    if pid == 0:
        be_silent(fd, takes_requests=takes_requests)
    os.close(fd)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)  # its end closes the last descriptor, which ends every wait for the disk
        os.waitpid(pid, 0)
        LIBC.umount2(bytes(directory), MNT_DETACH)


def be_silent(fd: int, *, takes_requests: bool) -> None:
    """Answer the first request, which the kernel sends for itself, and none of a process."""
    try:
        if takes_requests:
            unique = struct.unpack_from("=IIQ", os.read(fd, REQUEST_BYTES))[2]
            version = struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, 2**16, 1, 16, 0, 0)
            os.write(fd, struct.pack("=IiQ", 16 + len(version), 0, unique) + version)
        while takes_requests:
            os.read(fd, REQUEST_BYTES)
        signal.pause()
    finally:
        os._exit(1)


@pytest.mark.parametrize("takes_requests", [False, True])
def test_a_disk_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_requests: bool) -> None:
    """The error names the disk. Where even SIGKILL does not end the child, it is left and reaped before the next one starts.

    The kernel does not end a process whose request the disk's program has taken.
    """
    monkeypatch.setattr(decoder, "READ_SECONDS", 0.3)
    monkeypatch.setattr(sandbox, "END_SECONDS", 0.3)
    before = psutil.Process().children()
    mounted, sound = tmp_path / "mounted", tmp_path / "sound"
    mounted.mkdir()
    sound.mkdir()
    (sound / "a.png").write_bytes(PICTURE)
    with alarmed():
        with silent_disk(mounted, takes_requests=takes_requests), pytest.raises(FileTimeout):
            read(mounted)
        until_ended([process for process in psutil.Process().children() if process not in before])
        assert [read(sound)] == [page.picture for page in open_document(PICTURE, 1).pages]
    assert psutil.Process().children() == before


@pytest.mark.parametrize("takes_requests", [False, True])
def test_a_probe_of_a_disk_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_requests: bool) -> None:
    """The monitor's probe ends in time and starts no second child beside one that hangs. The return of the disk is found."""
    monkeypatch.setattr(sandbox, "END_SECONDS", 0.3)
    before = psutil.Process().children()
    (tmp_path / "submissions").mkdir()
    with alarmed():
        with silent_disk(tmp_path, takes_requests=takes_requests):
            for _ in range(3):
                assert asyncio.run(read_in_child(str(tmp_path), "submissions", 0.3)) == "FileTimeout"
            assert len([process for process in psutil.Process().children() if process not in before]) <= 2  # with the disk's own
        until_ended([process for process in psutil.Process().children() if process not in before])
        assert asyncio.run(read_in_child(str(tmp_path), "submissions", READ_SECONDS)) == ""
    assert psutil.Process().children() == before


def read(root: Path) -> bytes:
    storage = Storage(parse(DATABASE | {"STORAGE_VERIFY_ROOT": str(root)}).worker)
    with decoding(storage.page("a.png"), max_pages=1) as document:
        return next(iter(document)).picture


def until_ended(processes: list[psutil.Process]) -> None:
    while any(process.status() != psutil.STATUS_ZOMBIE for process in processes):
        time.sleep(0.01)
