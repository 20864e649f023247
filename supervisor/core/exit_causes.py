"""The decision table that gives each end of a process one cause: what was done to the process, and its status, select a row."""

from collections.abc import Container, Set
from dataclasses import dataclass

from supervisor.core.fleet import REQUESTED_STOPS, ActionReason, ExitCause, Slot, SlotState

_SIGKILLED = -9
_SIGNALS = range(-64, 0)
_ANY_STATUS = range(-64, 256)
_ANY_STATE = frozenset(SlotState)
_ANY_REASON = frozenset({None, *ActionReason})
_BOTH = frozenset({False, True})

Reasons = Set[ActionReason | None]


@dataclass(frozen=True, slots=True)
class CauseRow:
    """One row. It applies if each of its columns contains the process's value, and a column that is left out contains all."""

    cause: ExitCause
    because: str
    status: Container[int] = _ANY_STATUS
    state: Set[SlotState] = _ANY_STATE
    stop_reason: Reasons = _ANY_REASON
    kill_reason: Reasons = _ANY_REASON
    is_retiring: Set[bool] = _BOTH
    is_oom: Set[bool] = _BOTH

    def applies_to(self, slot: Slot, status: int, *, is_oom: bool) -> bool:
        return (
            status in self.status
            and slot.state in self.state
            and slot.stop_reason in self.stop_reason
            and slot.kill_reason in self.kill_reason
            and slot.is_retiring in self.is_retiring
            and is_oom in self.is_oom
        )


CAUSE_ROWS = (
    CauseRow(
        ExitCause.ASKED,
        "It left as requested. A SIGKILL sent meanwhile came too late, because a killed process never ends with 0.",
        status={0},
        stop_reason=REQUESTED_STOPS,
    ),
    CauseRow(
        ExitCause.ASKED,
        "A retiring worker leaves after its job, without a SIGTERM.",
        status={0},
        stop_reason={None},
        is_retiring={True},
    ),
    CauseRow(
        ExitCause.OOM,
        "The kernel counted an out-of-memory kill, and the supervisor sent no SIGKILL.",
        status={_SIGKILLED},
        state=_ANY_STATE - {SlotState.KILLED},
        is_oom={True},
    ),
    CauseRow(
        ExitCause.HUNG,
        "It hung in the drain. The fault of the process outweighs the request to leave, here and in the next two rows.",
        kill_reason={ActionReason.DEADLINE_EXCEEDED_IN_DRAIN},
    ),
    CauseRow(ExitCause.BOOT, "It was killed in a drain, in a boot that took too long.", kill_reason={ActionReason.BOOT_TOO_SLOW}),
    CauseRow(ExitCause.MEMORY, "It was killed above the hard limit.", kill_reason={ActionReason.OVER_HARD_LIMIT}),
    CauseRow(
        ExitCause.HUNG,
        "It got SIGTERM for an exceeded deadline. Whether it obeyed or was killed after the grace period does not matter.",
        stop_reason={ActionReason.DEADLINE_EXCEEDED},
    ),
    CauseRow(ExitCause.BOOT, "It got SIGTERM in a boot that took too long.", stop_reason={ActionReason.BOOT_TOO_SLOW}),
    CauseRow(
        ExitCause.OPERATOR,
        "It was killed when the time to leave was over.",
        state={SlotState.KILLED},
        stop_reason=REQUESTED_STOPS,
    ),
    CauseRow(
        ExitCause.OPERATOR,
        "The stop killed it before a SIGTERM was sent.",
        state={SlotState.KILLED},
        stop_reason={None},
        kill_reason=REQUESTED_STOPS,
    ),
    CauseRow(ExitCause.BOOT, "It ended by itself before its first deadline.", state={SlotState.STARTING}),
    CauseRow(ExitCause.SIGNAL, "A signal came from outside, or from the process itself, such as SIGSEGV.", status=_SIGNALS),
    CauseRow(ExitCause.EXIT_CODE, "It left by itself, and not as requested."),
)


def row_of(slot: Slot, status: int, *, is_oom: bool) -> CauseRow:
    """Return the first row that applies to the process that was in the slot."""
    return next(row for row in CAUSE_ROWS if row.applies_to(slot, status, is_oom=is_oom))


def cause_of(slot: Slot, status: int, *, is_oom: bool) -> ExitCause:
    """Return the cause of the end of the process that was in the slot."""
    return row_of(slot, status, is_oom=is_oom).cause
