from collections.abc import Callable
from typing import Any

from worker.adapters import vision
from worker.settings import WorkerSettings


def build(settings: WorkerSettings, on_progress: Callable[[], None]) -> Any:
    return vision.build(settings, on_progress)
