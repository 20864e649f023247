"""Reads documents of two pages. As it has the second one ready, its process stands still for an hour, for the lease's clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import worker.held_lease

HOUR = 3600.0


class Pages:
    total = 2

    def __init__(self) -> None:
        self._made = 0

    def next_page(self) -> bytes:
        self._made += 1
        if self._made == self.total:
            vars(worker.held_lease)["time"] = SimpleNamespace(monotonic=lambda: time.monotonic() + HOUR)
        return b"a picture"

    def read(self, picture: bytes) -> str:
        return picture.decode()

    def metadata(self) -> dict[str, object]:
        return {}


class Vision:
    @contextmanager
    def pages(self, submission: object, first_page: int) -> Iterator[Pages]:
        del submission, first_page
        yield Pages()


def build() -> Vision:
    return Vision()
