"""Permission to lease and to call a model, as the supervisor and the monitor wrote it into the scoreboard."""

import time

from worker.core.gates import Gates
from worker.ipc.backoff import doubling
from worker.ipc.contract import Step, Wiring
from worker.ipc.pauses import MAX_PAUSE_SECONDS, paused_until_seconds
from worker.ipc.scoreboard import MAX_CALLS, AdmissionRecord
from worker.settings import WorkerSettings

FIRST_PAUSE_SECONDS = 2.0  # after a rate limit without a named time


class Admission:
    """Reads the scoreboard at every question, because a permission may be withdrawn at any time."""

    def __init__(self, wiring: Wiring, settings: WorkerSettings) -> None:
        self._slot, self._scoreboard, self._settings = wiring.slot, wiring.scoreboard, settings
        self._may_pause = settings.is_foreign("vision") or settings.is_foreign("feedback")
        self._pauses = dict.fromkeys(Step, 0)

    def may_lease(self) -> bool:
        """False also if every gate is closed, because no job could get past them."""
        control, admission = self._scoreboard.control.read(), self._scoreboard.admission.read()
        is_among_slots = self._slot < min(control.leasing_slots, admission.slots)
        is_in_time = time.monotonic() < admission.until_seconds
        return is_among_slots and is_in_time and not control.is_draining and not self._gates(admission).are_all_closed

    def gates(self) -> Gates:
        return self._gates(self._scoreboard.admission.read())

    def calls(self, step: Step) -> int:
        """Number of calls that the step's model may have at once, over all workers. 0: its gate is closed. A stub has no gate."""
        return self._calls(step, self._scoreboard.admission.read())

    def pause_end_seconds(self, step: Step, retry_after_seconds: float) -> float:
        """The end (monotonic) of a pause, because a foreign adapter's provider wants no calls. Without a named time it doubles.

        Once published, it closes the step's gate for all workers of the instance.
        """
        self._pauses[step] += 1
        doubled_seconds = doubling(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, self._pauses[step] - 1)
        return time.monotonic() + min(MAX_PAUSE_SECONDS, retry_after_seconds or doubled_seconds)

    def answered(self, step: Step) -> None:
        """A call was answered, so the next pause is a short one."""
        self._pauses[step] = 0

    def lost_permits(self, step: Step) -> frozenset[int]:
        """Numbers of the step's permits that are held for no job and cannot be freed yet."""
        record = self._scoreboard.permits.read()
        bits = record.lost_vision if step is Step.VISION else record.lost_feedback
        return frozenset(number for number in range(1, MAX_CALLS + 1) if bits >> number - 1 & 1)

    def _gates(self, admission: AdmissionRecord) -> Gates:
        return Gates(self._calls(Step.VISION, admission) > 0, self._calls(Step.FEEDBACK, admission) > 0)

    def _calls(self, step: Step, admission: AdmissionRecord) -> int:
        limit = self._settings.ollama_num_parallel
        if not self._settings.may_call(step.value):
            return limit
        if self._may_pause and paused_until_seconds(self._scoreboard, step, time.monotonic()):
            return 0
        return min(limit, admission.vision_calls if step is Step.VISION else admission.feedback_calls)
