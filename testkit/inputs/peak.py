"""The memory that a file takes in the decoder's child."""

import os
from pathlib import Path

from worker.core.file_refusals import FileRefused
from worker.documents.pages import open_document
from worker.documents.sandbox import sandboxed

MAX_PAGES = 20


def peak_bytes(content: bytes) -> int | None:
    """Return VmHWM of a child that decodes all pages. None if it was ended.

    It includes the memory that is shared with this process, which should be small.
    """

    def work(fd: int) -> None:
        try:
            for _ in open_document(content, MAX_PAGES).pages:
                pass
        except FileRefused:
            pass
        os.write(fd, Path("/proc/self/status").read_bytes())

    with sandboxed(work) as child, os.fdopen(os.dup(child.fd)) as answer:
        status = dict(line.split(":", 1) for line in answer)
        return int(status["VmHWM"].split()[0]) * 1024 if status else None
