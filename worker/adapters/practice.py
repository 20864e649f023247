"""Imports the platform's functions for practice attempts, in the worker, after the fork and after its adapters."""

import importlib

from worker.core.practice import Practice

MODULE = "backend.learning.practice.completion"


def load_practice() -> Practice | None:
    """Return the two functions. None if they cannot be imported: then practice attempts stay queued."""
    try:
        module = importlib.import_module(MODULE)
        return Practice(module.complete_worker_practice_attempt, module.fail_worker_practice_attempt)
    except BaseException:  # noqa: BLE001  a foreign module may raise anything, and is not needed for other jobs
        return None
