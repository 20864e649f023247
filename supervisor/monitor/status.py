"""The state of an instance in words and numbers: what `status`, /healthz and the control socket tell."""

import time
from typing import Any

from supervisor.core.fleet import MONITOR, ExitCause, ReloadProblem, SlotState, crashes
from supervisor.event_log import ending
from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.slot_status import SlotStatus, present
from supervisor.monitor.state import MonitorState
from worker.ipc.contract import Counter
from worker.ipc.scoreboard import LedgerRecord, Scoreboard
from worker.queue.polls import COUNT_BOUND

STALE_SECONDS = 10.0  # far above the monitor's own rhythm
LOSS_SECONDS = 6.0  # a worker that goes on losing its connections says so again within five


def verdict(scoreboard: Scoreboard, sight: MonitorState) -> tuple[str, str]:
    """(ok | degraded | down | draining, one sentence that a person understands)."""
    fleet = scoreboard.fleet()
    slots = [slot for slot in present(scoreboard) if slot.number < fleet.wanted]
    running = [slot for slot in slots if slot.is_running]
    if scoreboard.control().is_draining:
        why = "Giving up, as there was nothing but crashes" if fleet.gave_up else "Stopping"
        return "draining", f"{why}: {_workers(sum(bool(s.ledger.pid) for s in present(scoreboard)))} still at work."
    if outage := _database(sight):
        return "down", outage
    if not running and any(slot.ledger.state == SlotState.STARTING for slot in slots):
        return "degraded", "Starting: no worker is ready yet."
    if not running:
        return "down", "No worker runs; each is started again after a growing wait. The log names the reason of every exit."
    if time.monotonic() < sight.lost_at_seconds + LOSS_SECONDS:
        return "degraded", f"The database answers, but workers' statements fail ({sight.loss}): nothing is lost, they try again."
    if len(running) < len(slots):
        missing = ", ".join(f"worker {s.number} ({_absence(s)})" for s in slots if not s.is_running)
        return "degraded", f"{len(running)} of {len(slots)} workers run; missing: {missing}."
    if fleet.reload_problem:
        problem = list(ReloadProblem)[fleet.reload_problem - 1].value
        return "degraded", f"The settings that were read last are not in use ({problem}: see the log); all else is well."
    if trouble := sight.admission.trouble(time.monotonic()):
        return "degraded", trouble
    busy = sum(slot.is_busy for slot in present(scoreboard))
    found_by = " A transaction pooler is in between: jobs are found by polling alone." if sight.is_pooled else ""
    passing = f" For a moment: {sight.admission.worded()}." if sight.admission.is_holding else ""
    told = f"{_workers(len(slots))}, {busy} at work, {_bounded(sight.stats.queued)} waiting"
    return "ok", f"All is well: {told}.{passing}{found_by}"


def _database(sight: MonitorState) -> str:
    """Why nothing can be done with the database; empty if it answers."""
    if not sight.is_connected and sight.is_refused:
        return f"The database answers, but refuses the queue ({sight.outage}): nothing is lost, work goes on when it is free."
    if not sight.is_connected:
        return f"The database cannot be reached ({sight.outage}): nothing is lost, work goes on when it is back."
    if time.monotonic() > sight.looked_at_seconds + STALE_SECONDS:
        return "The database is connected, but does not answer: nothing is lost, work goes on when it does."
    return ""


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _absence(slot: SlotStatus) -> str:
    if slot.ledger.pid:
        return SlotState(slot.ledger.state).name.lower()
    words = ending(slot.ledger.last_status)
    known = ExitCause(slot.ledger.last_cause)
    return words if known in {ExitCause.EXIT_CODE, ExitCause.SIGNAL} else f"{words}, {known.word}"


def snapshot(scoreboard: Scoreboard, sight: MonitorState, *, instance: int, is_stub: bool) -> dict[str, Any]:
    """The status document. Ids, numbers and classes only."""
    state, sentence = verdict(scoreboard, sight)
    return {
        "instance": f"{instance:08x}",
        "state": state,
        "sentence": sentence,
        "is_stub": is_stub,
        "metrics_address": sight.http_address,
        "queue": {
            "is_connected": sight.is_connected,
            "is_listening": sight.is_listening,
            "is_pooled": sight.is_pooled,
            "queued": sight.stats.queued,
            "leased": sight.stats.leased,
            "failed": sight.stats.failed,
            "oldest_wait_seconds": sight.stats.oldest_wait_seconds,
        },
        "admission": _admission(sight.admission) if sight.admission.is_governed else None,
        "wanted_workers": scoreboard.fleet().wanted,
        "is_reloading": scoreboard.fleet().is_reloading,
        "workers": [_worker(slot) for slot in present(scoreboard)],
        "monitor": _process(scoreboard.ledger(MONITOR)),
    }


def _admission(sight: AdmissionView) -> dict[str, Any]:
    """What is admitted and why, and what it follows from. 64 is no bound."""
    state, policy, decision = sight.state, sight.policy, sight.decision
    return {
        "slots": decision.slots,
        "vision_calls": decision.calls_of(policy.vision_model),
        "feedback_calls": decision.calls_of(policy.feedback_model),
        "reasons": [reason.name.lower() for reason in decision.reasons],
        "why": sight.worded() or None,
        "is_holding": sight.is_holding,
        "exclusive_model": state.exclusive_model,
        "ollama": {
            "silence": sight.silence,
            "models": [{"name": each.name, "size_bytes": each.size_bytes} for each in state.listed],
            "reported_bytes": state.reported_bytes,
            "observed_bytes": state.observed_bytes or None,
            "is_remote": sight.is_remote,
            "limit_bytes": policy.limit_bytes or None,
            "low_water_bytes": policy.low_water_bytes or None,
        },
        "host": {
            "available_bytes": state.host.available_bytes if state.host else None,
            "gpu_free_bytes": state.host.gpu_free_bytes if state.host else None,
            "pressure": state.host.pressure if state.host else None,
        },
        "notes": [{"meaning": note.kind.value, "model": note.model or None} for note in sight.notes()],
    }


def _worker(slot: SlotStatus) -> dict[str, Any]:
    job_id = slot.claim.job_id if slot.claim and slot.ledger.pid else None
    return {
        "slot": slot.number,
        **_process(slot.ledger),
        "activity": slot.activity.name.lower() if slot.activity else None,
        "job_id": str(job_id) if job_id else None,
        "is_retiring": slot.ledger.is_retiring,
        "rss_bytes": slot.ledger.rss_bytes or None,
        "uss_bytes": slot.uss_bytes or None,
        "totals": {counter.name.lower(): slot.total(counter) for counter in Counter},
    }


def _process(ledger: LedgerRecord) -> dict[str, Any]:
    has_ended = ledger.starts > bool(ledger.pid)
    return {
        "state": SlotState(ledger.state).name.lower(),
        "pid": ledger.pid or None,
        "since_seconds": round(time.monotonic() - ledger.since_seconds, 1),
        "starts": ledger.starts,
        "crashes": crashes(ledger.ends_by_cause),
        "last_exit": ending(ledger.last_status) if has_ended else None,
        "last_cause": ExitCause(ledger.last_cause).word if has_ended else None,
    }


def _bounded(count: int) -> str:
    return f"more than {COUNT_BOUND - 1}" if count >= COUNT_BOUND else str(count)
