"""The durations in an answer: whole nanoseconds, omitted if zero."""

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Stopwatch:
    """Monotonic times in nanoseconds, each set at the end of the step before it.

    The wait for a slot is between `loaded_ns` and `slot_ns`, so only the total contains it (recording 25).
    """

    started_ns: int
    loaded_ns: int = 0
    slot_ns: int = 0
    prompt_ns: int = 0

    def metrics(self, prompt_tokens: int, answer_tokens: int) -> dict[str, int]:
        now_ns = time.monotonic_ns()
        durations = {
            "total_duration": now_ns - self.started_ns,
            "load_duration": self.loaded_ns - self.started_ns,
            "prompt_eval_count": prompt_tokens,
            "prompt_eval_duration": self.prompt_ns - self.slot_ns,
            "eval_count": answer_tokens,
            "eval_duration": now_ns - self.prompt_ns,
        }
        return {name: value for name, value in durations.items() if value}
