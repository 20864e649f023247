"""The other workers of the instance: their calls to a model, as evidence about a failed call of this worker, and their leases."""

import time
from collections.abc import Iterable
from uuid import UUID

from worker.core.evidence import CallCounts
from worker.ipc.contract import Activity, Counter, Step, Wiring
from worker.ipc.scoreboard import WorkerRecord
from worker.ollama.models import listed_name
from worker.settings import WorkerSettings

ANSWERED = {Step.VISION: Counter.VISION_ANSWERED, Step.FEEDBACK: Counter.FEEDBACK_ANSWERED}
DIED = {Step.VISION: Counter.VISION_DIED, Step.FEEDBACK: Counter.FEEDBACK_DIED}


class Neighbours:
    """Counts the calls of all workers of the instance, from their records in the scoreboard.

    A call in flight counts until its deadline, because the record of a killed worker stays until its slot is filled again. With
    fewer slots than before all counts are lower, and convict no job.
    """

    def __init__(self, wiring: Wiring, settings: WorkerSettings) -> None:
        self._wiring = wiring
        is_one_model = listed_name(settings.ai_vision_model) == listed_name(settings.ai_feedback_model)
        self._steps = {step: tuple(Step) if is_one_model else (step,) for step in Step}
        self._died_before = 0

    def call_begins(self, step: Step) -> None:
        """Remember the deaths until now, so that later ones are known to be during the call."""
        self._died_before = self._died(step, self._others())

    def have_died(self, step: Step) -> bool:
        """Report whether another worker's call died since this one began."""
        return self._died_meanwhile(step) > 0

    def counts(self, step: Step, own_answered: int) -> CallCounts:
        """The step's calls now. `own_answered` of the answered ones were for the job itself."""
        admission, records = self._wiring.scoreboard.admission.read(), self._records().values()
        return CallCounts(
            self._wiring.instance,
            answered=sum(record.counters[ANSWERED[step]] for record in records),
            own_answered=own_answered,
            others_in_flight=sum(self._is_in_call(record, step) for record in self._others()),
            died=self._died(step, records),
            died_meanwhile=self._died_meanwhile(step),
            probes=admission.vision_probes if step is Step.VISION else admission.feedback_probes,
            suspects=admission.vision_suspects if step is Step.VISION else admission.feedback_suspects,
        )

    def lease_keys(self) -> tuple[UUID, ...]:
        """Return the keys of the leases in the others' hands. One that is past its deadline may be dead, and holds none."""
        now_seconds = time.monotonic()
        return tuple(each.lease_key for each in self._others() if each.lease_key and each.deadline_seconds > now_seconds)

    def _died_meanwhile(self, step: Step) -> int:
        return self._died(step, self._others()) - self._died_before

    def _died(self, step: Step, records: Iterable[WorkerRecord]) -> int:
        counters = [DIED[each] for each in self._steps[step]]
        return sum(record.counters[counter] for record in records for counter in counters)

    def _is_in_call(self, record: WorkerRecord, step: Step) -> bool:
        activities = {Activity[each.name] for each in self._steps[step]}
        return record.activity in activities and record.deadline_seconds > time.monotonic()

    def _records(self) -> dict[int, WorkerRecord]:
        slots = max(self._wiring.scoreboard.control.read().leasing_slots, self._wiring.slot + 1)
        read = ((slot, self._wiring.scoreboard.worker(slot)) for slot in range(slots))
        return {slot: record for slot, record in read if record is not None}

    def _others(self) -> list[WorkerRecord]:
        return [record for slot, record in self._records().items() if slot != self._wiring.slot]
