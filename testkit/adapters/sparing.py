"""Our vision adapter, which asks no model for the pages in UNASKED, such as "1 3". Their text is "page" and the number.

With PAGE_SECONDS the lease's clock advances by that at each page, as if its decoding took so long.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import worker.held_lease
from worker.adapters.vision import Pages, Vision
from worker.documents.page import Page
from worker.ollama.call_report import OnCall, ignore_call
from worker.ollama.client import Ollama
from worker.settings import WorkerSettings


class SparingPages:
    def __init__(self, pages: Pages, first_page: int) -> None:
        self._pages, self._number, self.total = pages, first_page - 1, pages.total
        self.read, self.metadata = pages.read, pages.metadata

    def next_page(self) -> Page:
        self._number += 1
        _advance(float(os.environ.get("PAGE_SECONDS", "0")))
        return self._pages.next_page()

    def unasked_text(self, page: Page) -> str | None:
        del page
        return f"page {self._number}" if str(self._number) in os.environ["UNASKED"].split() else None


class Sparing(Vision):
    @contextmanager
    def pages(self, submission: Mapping[str, Any], first_page: int, attempt: int = 0) -> Iterator[Any]:
        with super().pages(submission, first_page, attempt) as pages:
            yield SparingPages(pages, first_page)


def _advance(seconds: float) -> None:
    if seconds:
        before = vars(worker.held_lease)["time"].monotonic
        vars(worker.held_lease)["time"] = SimpleNamespace(monotonic=lambda: before() + seconds)


def build(settings: WorkerSettings, on_progress: Callable[[], None], on_call: OnCall = ignore_call) -> Sparing:
    return Sparing(settings, Ollama(settings.ollama_base_url, on_progress, on_call, may_leave_the_house=False), on_call)
