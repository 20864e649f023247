"""Takes its time to be imported."""

import time

from worker.adapters.stub import build

__all__ = ["build"]

time.sleep(1)
