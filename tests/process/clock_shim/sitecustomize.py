"""Python imports this before anything else: the wall clock is off by CLOCK_SHIFT_SECONDS, the monotonic one is right.

The host seems to have been suspended for as many seconds as the file SUSPENDED_SECONDS says at the moment.
"""

import datetime
import os
import time

SHIFT_SECONDS = float(os.environ.get("CLOCK_SHIFT_SECONDS", "0"))
_now_seconds = time.time
_clock_gettime = time.clock_gettime


class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "Shifted":
        return cls.fromtimestamp(time.time(), tz)


def _shifted_gettime(clock: int) -> float:
    suspended_seconds = _suspended_seconds() if clock == time.CLOCK_BOOTTIME else 0.0
    return _clock_gettime(clock) + SHIFT_SECONDS * (clock == time.CLOCK_REALTIME) + suspended_seconds


def _suspended_seconds() -> float:
    path = os.environ.get("SUSPENDED_SECONDS", "")
    if not path or not os.path.exists(path):  # noqa: PTH110  pathlib may not be imported yet
        return 0.0
    with open(path) as file:  # noqa: PTH123
        return float(file.read())


time.time = lambda: _now_seconds() + SHIFT_SECONDS
time.time_ns = lambda: int(time.time() * 1e9)
time.clock_gettime = _shifted_gettime
datetime.datetime = Shifted  # type: ignore[misc]
