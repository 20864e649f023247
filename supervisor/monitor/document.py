"""The status document for the control socket and `status --json`: numbers, ids and class names."""

import time
from typing import Any

from supervisor.admission.facts import HostMeasured
from supervisor.core.fleet import ExitCause, SlotState, crashes
from supervisor.event_log import ending
from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.progress import standing_seconds
from supervisor.monitor.queue.permit_waits import LostPermit, PermitHolder, PermitWait
from supervisor.monitor.queue.silent_instances import SilentInstance
from supervisor.monitor.rate_limits import rate_limits
from supervisor.monitor.slot_status import SlotStatus, present
from supervisor.monitor.state import MonitorState
from supervisor.monitor.status import summary
from supervisor.monitor.work import completed_at_seconds, work_facts
from worker.ipc.contract import RATE_LIMITED, Counter
from worker.ipc.scoreboard import LedgerRecord, Scoreboard

MAX_LISTED = 100  # of refused jobs, and of those that can never be taken


def snapshot(scoreboard: Scoreboard, state: MonitorState, *, instance: int, is_stub: bool) -> dict[str, Any]:
    """The status document. It holds ids, numbers and class names only, nothing that a pupil wrote."""
    summary_state, message = summary(scoreboard, state)
    return {
        "instance": f"{instance:08x}",
        "state": summary_state,
        "message": message,
        "is_stub": is_stub,
        "unknown_settings": [{"name": each.name, "remedy": each.remedy} for each in state.unknown_settings],
        "metrics_address": state.http_address,
        "queue": _queue(state),
        "permit_waits": [_permit_wait(wait) for wait in state.permit_waits],
        "lost_permits": [_lost_permit(lost) for lost in state.lost_permits],
        "refused_files": _refused_files(state),
        "rate_limits": [
            {"step": step, "code": RATE_LIMITED, "left_seconds": round(seconds, 1)}
            for step, seconds in rate_limits(scoreboard, time.monotonic()).items()
        ],
        "silent_instances": [_silent_instance(silent) for silent in state.silent_instances],
        "progress": _progress(scoreboard, state),
        "admission": _admission(state.admission) if state.admission.is_governed else None,
        "wanted_workers": scoreboard.fleet.read().wanted,
        "is_reloading": scoreboard.fleet.read().is_reloading,
        "workers": [_worker(slot, state) for slot in present(scoreboard)],
        "monitor": _process(scoreboard.monitor_ledger.read()),
    }


def _queue(state: MonitorState) -> dict[str, Any]:
    return {
        "is_connected": state.is_connected,
        "is_listening": state.is_listening,
        "is_pooled": state.is_pooled,
        "queued": state.stats.queued,
        "left_queued": [{"kind": each.kind, "cause": each.obstacle, "jobs": each.jobs} for each in state.left_queued],
        "leased": state.stats.leased,
        "failed": state.stats.failed,
        "oldest_wait_seconds": state.stats.oldest_wait_seconds,
        "refused_jobs": _refused_jobs(state),
        "jobs_ahead": _jobs_ahead(state),
        "stuck_jobs": [{"job_id": str(job_id), "fault": fault} for job_id, fault in list(state.stuck_jobs.items())[:MAX_LISTED]],
    }


def _jobs_ahead(state: MonitorState) -> dict[str, Any]:
    ahead = state.jobs_ahead
    job_id = str(ahead.first_job_id) if ahead.first_job_id else None
    return {"count": ahead.count, "first_job_id": job_id, "due_in_seconds": round(ahead.due_in_seconds)}


def _permit_wait(wait: PermitWait) -> dict[str, Any]:
    return {
        "model": wait.model,
        "slots": list(wait.slots),
        "since_seconds": round(time.monotonic() - wait.since_seconds, 1),
        "holders": [_permit_holder(holder) for holder in wait.holders],
    }


def _lost_permit(lost: LostPermit) -> dict[str, Any]:
    return {**_permit_holder(lost.holder), "since_seconds": round(time.monotonic() - lost.since_seconds, 1)}


def _silent_instance(silent: SilentInstance) -> dict[str, Any]:
    return {
        "instance": silent.instance,
        "address": silent.address or None,
        "jobs": silent.jobs,
        "since_seconds": round(time.monotonic() - silent.heard_at_seconds, 1),
    }


def _permit_holder(holder: PermitHolder) -> dict[str, Any]:
    quiet_seconds = None if holder.quiet_seconds is None else round(holder.quiet_seconds, 1)
    return {
        "model": holder.model,
        "permit": holder.number,
        "name": holder.name,
        "address": holder.address,
        "backend_pid": holder.backend_pid,
        "quiet_seconds": quiet_seconds,
        "is_overdue": holder.is_overdue,
    }


def _refused_jobs(state: MonitorState) -> list[dict[str, Any]]:
    now = time.monotonic()
    return [
        {"job_id": str(job_id), "sqlstate": row.sqlstate, "since_seconds": round(now - row.since_seconds, 1)}
        for job_id, row in list(state.refused_rows.rows.items())[:MAX_LISTED]
    ]


def _refused_files(state: MonitorState) -> dict[str, Any] | None:
    """The last files, if all of them were refused for one reason."""
    streak = state.refused_files.streak(time.monotonic())
    if streak is None:
        return None
    return {"reason": streak.reason, "count": streak.count, "since_seconds": round(time.monotonic() - streak.since_seconds, 1)}


def _progress(scoreboard: Scoreboard, state: MonitorState) -> dict[str, Any]:
    """Ages in seconds: of the last progress, of the last completed job, and of the standstill, 0 without work."""
    now_seconds = time.monotonic()
    facts, completed_seconds = work_facts(scoreboard, state, now_seconds), completed_at_seconds(scoreboard)
    advanced_seconds = facts.advanced_at_seconds
    return {
        "standing_seconds": round(standing_seconds(state.progress.watch, facts), 1),
        "advanced_age_seconds": round(now_seconds - advanced_seconds, 1) if advanced_seconds else None,
        "completed_age_seconds": round(now_seconds - completed_seconds, 1) if completed_seconds else None,
    }


def _admission(view: AdmissionView) -> dict[str, Any]:
    """The decision, its reasons, and the measurements behind it. 64 slots or calls mean no limit."""
    policy, decision = view.policy, view.decision
    return {
        "slots": decision.slots,
        "vision_calls": decision.vision_calls(policy.vision_model),
        "feedback_calls": decision.calls_of(policy.feedback_model),
        "reasons": [reason.name.lower() for reason in decision.reasons],
        "why": view.explanation() or None,
        "is_holding": view.is_holding,
        "locked_model": view.state.locked_model,
        "ollama": _ollama(view),
        "host": _host(view.state.host),
        "store_error": view.state.store.error_class or None,
        "anomalies": [{"meaning": each.kind.value, "model": each.model or None} for each in view.anomalies()],
    }


def _ollama(view: AdmissionView) -> dict[str, Any]:
    state, policy = view.state, view.policy
    return {
        "list_error": view.list_error,
        "models": [{"name": each.name, "size_bytes": each.size_bytes} for each in state.listed],
        "reported_bytes": state.reported_bytes,
        "observed_bytes": state.observed_bytes or None,
        "is_remote": view.is_remote,
        "limit_bytes": policy.limit_bytes or None,
        "low_water_bytes": policy.low_water_bytes or None,
    }


def _host(host: HostMeasured | None) -> dict[str, Any]:
    return {
        "available_bytes": host.available_bytes if host else None,
        "gpu_free_bytes": host.gpu_free_bytes if host else None,
        "pressure": host.pressure if host else None,
    }


def _worker(slot: SlotStatus, state: MonitorState) -> dict[str, Any]:
    job_id = slot.claim.job_id if slot.claim and slot.ledger.pid else None
    return {
        "slot": slot.number,
        **_process(slot.ledger),
        "activity": slot.activity.name.lower() if slot.activity else None,
        "activity_seconds": _rounded(slot.activity_seconds(time.monotonic())),
        "job_id": str(job_id) if job_id else None,
        "is_retiring": slot.ledger.is_retiring,
        "is_suspended": state.suspensions.since_seconds(slot.ledger.pid) is not None,
        "rss_bytes": slot.ledger.rss_bytes or None,
        "uss_bytes": slot.uss_bytes or None,
        "totals": {counter.name.lower(): slot.total(counter) for counter in Counter},
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


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
