"""The durations that Ollama reports with an answer: whole nanoseconds, absent where zero."""

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Stopwatch:
    """Marks on the monotonic clock in nanoseconds; each is set when the step before it has ended.

    The wait for a slot lies between `loaded_ns` and `slot_ns`, so that it shows in the total alone (recording 25).
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
