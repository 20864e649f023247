from collections.abc import Callable
from typing import Any

from worker.adapters import feedback
from worker.settings import WorkerSettings


def build(settings: WorkerSettings, on_progress: Callable[[], None]) -> Any:
    return feedback.build(settings, on_progress)
