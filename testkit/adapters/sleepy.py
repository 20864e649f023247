"""Reads documents of two pages. Right before the second call its process stands still for an hour, for the lease's clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import worker.held_lease
from worker.held_lease import HeldLease
from worker.ipc.contract import Counter

HOUR = 3600.0

_count_call = HeldLease.count_call


def _sleep_before(held: HeldLease, counter: Counter) -> None:
    vars(worker.held_lease)["time"] = SimpleNamespace(monotonic=lambda: time.monotonic() + HOUR)
    _count_call(held, counter)


class Pages:
    total = 2

    def __init__(self) -> None:
        self._made = 0

    def next_page(self) -> bytes:
        self._made += 1
        if self._made == self.total:
            setattr(HeldLease, "count_call", _sleep_before)  # noqa: B010  mypy allows no assignment to a method
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
