"""One slot as two records of the scoreboard describe it: the supervisor's ledger, and the worker's own record."""

from dataclasses import dataclass

from supervisor.core.fleet import SlotState
from worker.ipc.contract import JOB_ACTIVITIES, Activity, Counter
from worker.ipc.scoreboard import MAX_SLOTS, LedgerRecord, Scoreboard, WorkerRecord


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """`claim` is the record of the slot's last worker. It may be wrong, because workers parse hostile documents."""

    number: int
    ledger: LedgerRecord
    claim: WorkerRecord | None

    @property
    def is_running(self) -> bool:
        return self.ledger.state == SlotState.RUNNING

    @property
    def activity(self) -> Activity | None:
        return Activity(self.claim.activity) if self.claim and self.ledger.pid else None

    @property
    def is_busy(self) -> bool:
        return self.is_running and self.activity in JOB_ACTIVITIES

    @property
    def has_job(self) -> bool:
        """True also while the worker connects again with a job in hand."""
        return self.is_running and self.claim is not None and self.claim.job_id is not None

    def activity_seconds(self, now_seconds: float) -> float | None:
        """Age of the step that the worker is in."""
        return max(0.0, now_seconds - self.claim.activity_since_seconds) if self.claim and self.ledger.pid else None

    @property
    def uss_bytes(self) -> int:
        """Memory of this worker alone. 0: no worker, or not measured yet."""
        return self.claim.uss_bytes if self.claim and self.ledger.pid else 0

    def total(self, counter: Counter) -> int:
        return self.claim.counters[counter] if self.claim else 0


def slot_statuses(scoreboard: Scoreboard) -> list[SlotStatus]:
    """Every slot that was ever used, in order."""
    ledgers = ((number, scoreboard.ledgers[number].read()) for number in range(MAX_SLOTS))
    return [SlotStatus(number, ledger, scoreboard.worker(number)) for number, ledger in ledgers if ledger.starts]


def present(scoreboard: Scoreboard) -> list[SlotStatus]:
    """Slots that are wanted or still hold a worker."""
    wanted = scoreboard.fleet.read().wanted
    return [slot for slot in slot_statuses(scoreboard) if slot.number < wanted or slot.ledger.pid]
