"""Python imports this before anything else: the wall clock is off by CLOCK_SHIFT_SECONDS, the monotonic one is right."""

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
    return _clock_gettime(clock) + SHIFT_SECONDS * (clock == time.CLOCK_REALTIME)


time.time = lambda: _now_seconds() + SHIFT_SECONDS
time.time_ns = lambda: int(time.time() * 1e9)
time.clock_gettime = _shifted_gettime
datetime.datetime = Shifted  # type: ignore[misc]
