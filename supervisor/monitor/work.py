"""The work of this instance, from the scoreboard and the monitor's state: the facts of its progress, and its waits in words."""

from collections import Counter
from collections.abc import Iterator

from supervisor.admission.decision import HoldReason
from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.ollama.view import Severity as HoldSeverity
from supervisor.monitor.progress import ModelCalls, WorkFacts
from supervisor.monitor.slot_status import SlotStatus, present, slot_statuses
from supervisor.monitor.state import MonitorState
from supervisor.wording import counted
from worker.ipc.contract import MODEL_CALLS, Activity
from worker.ipc.scoreboard import Scoreboard

_WAITS = {
    Activity.BOOT: "starting",
    Activity.CONNECT: "without a connection to the database",
    Activity.IDLE: "without a job",
    Activity.LEASE: "asking for a job",
    Activity.READ: "reading a file",
    Activity.PERMIT: "waiting for a permit",
    Activity.VISION: "in a call to the vision model",
    Activity.FEEDBACK: "in a call to the feedback model",
    Activity.SETTLE: "writing a result",
    Activity.CHECKPOINT: "writing a text",
}


def work_facts(scoreboard: Scoreboard, state: MonitorState, now_seconds: float) -> WorkFacts:
    slots = slot_statuses(scoreboard)
    is_in_work = any(slot.is_busy or slot.has_job for slot in slots)
    stats, view = state.stats, state.admission
    return WorkFacts(
        now_seconds,
        max((min(slot.claim.advanced_seconds, now_seconds) for slot in slots if slot.claim), default=0.0),
        has_work=state.is_connected and (state.is_waiting or is_in_work),
        is_idle=not (state.is_waiting or is_in_work or state.waiting_jobs or stats.leased),
        is_excused=view.is_holding and view.severity(view.reason) is HoldSeverity.PASSING,
        calls=tuple(_calls(model, slots, state) for model in view.policy.models),
    )


def completed_at_seconds(scoreboard: Scoreboard) -> float:
    """Return the end of the last completed job, 0 before the first."""
    return max((slot.claim.completed_seconds for slot in slot_statuses(scoreboard) if slot.claim), default=0.0)


def work_in_words(scoreboard: Scoreboard, state: MonitorState) -> str:
    """Name what the workers do now, the most frequent first: `4 workers: 3 waiting for a permit, 1 without a job`."""
    suspended = suspended_slots(scoreboard, state)
    waits = Counter("suspended" if slot in suspended else _WAITS[slot.activity] for slot in present(scoreboard) if slot.activity)
    parts = [f"{count} {wait}" for wait, count in waits.most_common()]
    return counted(waits.total(), "worker") + (f": {', '.join(parts)}" if parts else "")


def suspended_slots(scoreboard: Scoreboard, state: MonitorState) -> list[SlotStatus]:
    """Return the slots whose processes are stopped."""
    return [slot for slot in present(scoreboard) if state.suspensions.since_seconds(slot.ledger.pid) is not None]


def is_without_jobs(scoreboard: Scoreboard) -> bool:
    """Report whether all workers look for a job or wait for one."""
    return {slot.activity for slot in present(scoreboard)} <= {Activity.IDLE, Activity.LEASE}


def is_permit_unused(scoreboard: Scoreboard) -> bool:
    """Report whether workers wait for a permit and none of this instance is in a call."""
    activities = {slot.activity for slot in present(scoreboard)}
    return Activity.PERMIT in activities and not activities & MODEL_CALLS


def _calls(model: str, slots: list[SlotStatus], state: MonitorState) -> ModelCalls:
    view, progress = state.admission, state.progress
    status = view.state.model(model)
    is_missing = view.list_error is None and view.state.listed_at_seconds is not None and not (status and status.is_listed)
    callers = [slot for slot in slots if slot.claim and slot.is_busy and model in _models(slot.activity, view)]
    in_flight = [slot.claim for slot in callers if slot.claim]
    tokens = (claim.advanced_seconds for claim in in_flight if claim.advanced_seconds > claim.call_started_seconds)
    answered_at_seconds = max(progress.answered_at_seconds.get(model, 0.0), *tokens, 0.0)
    starts = [state.suspensions.began_seconds(slot.ledger.pid, slot.claim.call_started_seconds) for slot in callers if slot.claim]
    failed = progress.failed_since_seconds.get(model)
    return ModelCalls(
        model,
        min((*starts, failed) if failed is not None else starts, default=None),
        answered_at_seconds,
        progress.slowest_first_token_seconds(model),
        is_loading=(status is not None and status.is_loading) or (is_missing and HoldReason.LOADING in view.decision.reasons),
        has_suspended=any(state.suspensions.since_seconds(slot.ledger.pid) is not None for slot in callers),
    )


def _models(activity: Activity | None, view: AdmissionView) -> Iterator[str | None]:
    if activity is Activity.VISION:
        yield view.policy.vision_model
    if activity is Activity.FEEDBACK:
        yield view.policy.feedback_model
