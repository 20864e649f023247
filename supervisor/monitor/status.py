"""State of the instance for `status`, /healthz and the control socket: one message, and a document of numbers."""

import time
from typing import Any

from supervisor.admission.facts import HostMeasured
from supervisor.core.fleet import ExitCause, ReloadProblem, SlotState, crashes
from supervisor.event_log import ending
from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.progress import ASLEEP_SECONDS, Severity, Standstill, standing_seconds, standstill
from supervisor.monitor.queue.permit_waits import LostPermit, PermitHolder, PermitWait
from supervisor.monitor.queue.refused_rows import in_short
from supervisor.monitor.refusals import REFUSALS, refusal, refusal_of_workers
from supervisor.monitor.slot_status import SlotStatus, present
from supervisor.monitor.state import MonitorState
from supervisor.monitor.work import completed_at_seconds, is_permit_unused, waits, work_facts
from supervisor.wording import counted, since
from worker.ipc.contract import Counter
from worker.ipc.scoreboard import LedgerRecord, Scoreboard
from worker.names import NameLookupTimeout, NameNotResolved
from worker.queue.polls import COUNT_BOUND

STALE_SECONDS = 10.0  # far above the longest time between two polls
HEARTBEAT_LATE_SECONDS = 5.0  # beyond the supervisor's tick of one second
MAX_LISTED = 100  # of refused jobs, and of those that can never be taken
CUT_SECONDS = 2.0  # a worker's last commit before an outage may be so much later than the last poll
EVIDENCE_SECONDS = 30.0  # a completed job shows for so long that the workers reach the database
WORKER_OUTAGE_SECONDS = 12.0  # a worker that keeps losing its connection reports it again after a lookup (6 s) and a wait (5 s)

STATES = ("ok", "degraded", "down", "draining")
_UNRESOLVED = frozenset({NameNotResolved.__name__, NameLookupTimeout.__name__})

Summary = tuple[str, str]  # (ok | degraded | down | draining, message for an administrator)


def summary(scoreboard: Scoreboard, state: MonitorState) -> Summary:
    """The first check that finds something decides. The order is that of importance."""
    standing = _standstill(scoreboard, state)
    return (
        _supervisor_silent(scoreboard, state)
        or _stopping(scoreboard)
        or _monitor_cut_off(scoreboard, state)
        or _database_down(state)
        or _no_worker(scoreboard)
        or _standing(standing, scoreboard, state, Severity.LONG)
        or _workers_cut_off(state)
        or _workers_missing(scoreboard)
        or _old_settings(scoreboard)
        or _permit_lost(state)
        or _rows_refused(state)
        or _rows_stuck(state)
        or _held_back(state)
        or _standing(standing, scoreboard, state, Severity.EARLY)
        or _all_well(scoreboard, state)
    )


def _supervisor_silent(scoreboard: Scoreboard, state: MonitorState) -> Summary | None:
    """After a suspension of the whole host the supervisor has some time to write its next heartbeat."""
    now_seconds, watch = time.monotonic(), state.progress.watch
    heartbeat_seconds = scoreboard.fleet.read().heartbeat_seconds
    silent_seconds = now_seconds - max(heartbeat_seconds, watch.woke_at_seconds)
    is_asleep = now_seconds - watch.sampled_at_seconds > ASLEEP_SECONDS  # this process too, until a moment ago
    if not heartbeat_seconds or is_asleep or silent_seconds < HEARTBEAT_LATE_SECONDS:
        return None
    pid = state.supervisor_pid
    return "down", (
        f"The supervisor (process {pid}) does not react, {since(now_seconds - heartbeat_seconds)}. Workers that end are not "
        f"replaced, and commands have no effect. No submission is lost. If the process was stopped, `kill -CONT {pid}` continues "
        "it. Otherwise restart the service."
    )


def _stopping(scoreboard: Scoreboard) -> Summary | None:
    if not scoreboard.control.read().is_draining:
        return None
    left = counted(sum(bool(slot.ledger.pid) for slot in present(scoreboard)), "worker")
    if scoreboard.fleet.read().gave_up:
        return "draining", (
            f"Giving up, because the workers only crashed: {left} still at work. No submission is lost, but pupils get no "
            "feedback. Run check, correct what it names, then start the service again."
        )
    return "draining", f"Stopping: {left} still at work. Other submissions wait for the next start."


def _monitor_cut_off(scoreboard: Scoreboard, state: MonitorState) -> Summary | None:
    """Only the monitor has no connection: a worker has completed a job since. Workers then poll the queue themselves."""
    completed_seconds, now_seconds = completed_at_seconds(scoreboard), time.monotonic()
    is_at_work = now_seconds - completed_seconds < EVIDENCE_SECONDS and completed_seconds > state.polled_at_seconds + CUT_SECONDS
    if state.is_connected or not is_at_work:
        return None
    period = f", {since(now_seconds - state.polled_at_seconds)}" if state.polled_at_seconds else ""
    _, remedy = REFUSALS.get(state.outage, ("", "Check the database. The monitor connects again by itself."))
    return "degraded", (
        f"The monitor has no connection to the database ({state.outage}){period}, so the figures of the queue are old. The "
        f"workers have theirs and complete submissions. Each waits for up to WORKER_POLL_INTERVAL longer. {remedy}"
    )


def _database_down(state: MonitorState) -> Summary | None:
    silent_seconds = time.monotonic() - state.polled_at_seconds
    period = f", {since(silent_seconds)}" if state.polled_at_seconds else ""
    effect = "No submission is lost, but pupils get no feedback meanwhile. Check the database. Then work resumes automatically."
    refused = refusal(state.outage, state.database_address, period)
    if not state.is_connected and refused:
        return "down", refused
    if not state.is_connected and state.has_error_reply:
        return "down", f"The database answers, but does not let the service use the queue ({state.outage}){period}. {effect}"
    if not state.is_connected and state.outage in _UNRESOLVED:
        return "down", (
            f"The database's host name is not resolved ({state.outage}){period}. No submission is lost, but pupils get no "
            "feedback meanwhile. Check LEARNING_DATABASE_URL and the name servers of this host. Then work resumes automatically."
        )
    if not state.is_connected:
        return "down", f"The database cannot be reached ({state.outage}){period}. {effect}"
    if silent_seconds > STALE_SECONDS:
        return "down", f"The database is connected, but does not answer{period}. {effect}"
    return None


def _no_worker(scoreboard: Scoreboard) -> Summary | None:
    slots = _wanted(scoreboard)
    if any(slot.is_running for slot in slots):
        return None
    if any(slot.ledger.state == SlotState.STARTING for slot in slots):
        return "degraded", "Starting: no worker is ready yet. Submissions wait meanwhile."
    return "down", (
        "No worker is running, so pupils get no feedback. No submission is lost. Workers are restarted, each time after a longer "
        "wait. Run check. The log has the reason of every exit."
    )


def _standstill(scoreboard: Scoreboard, state: MonitorState) -> Standstill | None:
    progress = state.progress
    return standstill(progress.watch, work_facts(scoreboard, state, time.monotonic()), progress.policy)


def _standing(standing: Standstill | None, scoreboard: Scoreboard, state: MonitorState, severity: Severity) -> Summary | None:
    if standing is None or standing.severity is not severity:
        return None
    period = since(time.monotonic() - standing.since_seconds)
    if standing.model:
        return severity.value, (
            f"{standing.model} has sent no token, {period}, although it was called. The calls are repeated and no submission is "
            "lost, but feedback takes longer. Read Ollama's log. If this stays, restart Ollama."
        )
    return severity.value, (
        f"Nothing has moved forward, {period}, although submissions wait or are in work ({waits(scoreboard)}). No submission is "
        f"lost. {_obstacle(scoreboard, state)}"
    )


def _obstacle(scoreboard: Scoreboard, state: MonitorState) -> str:
    """The most probable reason for a standstill, and the remedy."""
    if _is_cut_off(state):
        return f"Statements of the workers fail ({state.worker_outage}). Check the database."
    if state.admission.needs_attention:
        return f"Held back: {state.admission.explanation()}."
    if is_permit_unused(scoreboard):
        return (
            "No worker of this instance is in a call, so another session holds the permits of the model. Workers that wait "
            "longer than any step are replaced. If this stays, end the session that holds them."
        )
    return "Run check, and read Ollama's log. If this stays, restart the service."


def _is_cut_off(state: MonitorState) -> bool:
    return time.monotonic() < state.worker_outage_at_seconds + WORKER_OUTAGE_SECONDS


def _workers_cut_off(state: MonitorState) -> Summary | None:
    if not _is_cut_off(state):
        return None
    if state.worker_outage in _UNRESOLVED:
        return "degraded", (
            f"The workers do not find the database, because its host name is not resolved ({state.worker_outage}). No submission "
            "is lost, but pupils get no feedback meanwhile. Check the name servers of this host. Then work resumes automatically."
        )
    if refused := refusal_of_workers(state.worker_outage, state.database_address):
        return "degraded", refused
    return "degraded", (
        f"The database answers, but statements of the workers fail ({state.worker_outage}). No submission is lost, workers try "
        "again. If this stays, pupils get no feedback: look for a full disk or a read-only database."
    )


def _workers_missing(scoreboard: Scoreboard) -> Summary | None:
    slots = _wanted(scoreboard)
    missing = [slot for slot in slots if not slot.is_running]
    if not missing:
        return None
    names = ", ".join(f"worker {slot.number} ({_absence(slot)})" for slot in missing)
    return "degraded", (
        f"{len(slots) - len(missing)} of {len(slots)} workers are running, missing: {names}. Feedback takes longer. Missing "
        "workers are restarted automatically."
    )


def _old_settings(scoreboard: Scoreboard) -> Summary | None:
    number = scoreboard.fleet.read().reload_problem
    if not number:
        return None
    problem = list(ReloadProblem)[number - 1].value
    return "degraded", (
        f"The settings that were read last are not in use ({problem}). Work goes on with the settings before them. The log names "
        "what to correct, then run reload."
    )


def _rows_refused(state: MonitorState) -> Summary | None:
    """Rows that the database refuses to change. They are passed over, and each is tried again after a growing wait."""
    rows = state.refused_rows.rows
    if not rows:
        return None
    codes = in_short(row.sqlstate for row in rows.values())
    period = since(time.monotonic() - min(row.since_seconds for row in rows.values()))
    return "degraded", (
        f"The database refuses to change {counted(len(rows), 'job')} (SQLSTATE {codes}), {period}. "
        f"The other submissions go on. The first one is job {next(iter(rows))}: correct the trigger, constraint or row "
        "that refuses it, or delete the job. Then work on it resumes automatically."
    )


def _rows_stuck(state: MonitorState) -> Summary | None:
    jobs = state.stuck_jobs
    if not jobs:
        return None
    return "degraded", (
        f"{counted(len(jobs), 'job')} can never be taken ({in_short(jobs.values())}). The other submissions go on. "
        f"The first one is job {next(iter(jobs))}: set its status to queued and its visible_at to now."
    )


def _held_back(state: MonitorState) -> Summary | None:
    trouble = state.admission.trouble(time.monotonic())
    return ("degraded", trouble) if trouble else None


def _permit_lost(state: MonitorState) -> Summary | None:
    """The oldest permit that is held for no job. Another number has taken its place."""
    lost = min(state.lost_permits, key=lambda each: each.since_seconds, default=None)
    if lost is None:
        return None
    holder = lost.holder
    session = f", server process {holder.backend_pid}" if holder.backend_pid else ""
    place = f" at {holder.address}" if holder.address else ""
    remedy = "end its server process on the database server" if holder.backend_pid else "end this process"
    return "degraded", (
        f"One call to {holder.model} is reserved without a submission, {since(time.monotonic() - lost.since_seconds)}: "
        f"{holder.name}{place}{session}. Another call was allowed in its place, so work goes on. If this stays, {remedy}."
    )


def _all_well(scoreboard: Scoreboard, state: MonitorState) -> Summary:
    busy = sum(slot.is_busy for slot in present(scoreboard))
    work = f"{counted(len(_wanted(scoreboard)), 'worker')}, {busy} at work, {_bounded(state.stats.queued)} waiting"
    delay = f" Short delay: {state.admission.explanation()}." if state.admission.is_holding else ""
    pooler = (
        " A transaction pooler is in between, so a new submission may wait for WORKER_POLL_INTERVAL." if state.is_pooled else ""
    )
    return "ok", f"All is well: {work}.{delay}{pooler}"


def _wanted(scoreboard: Scoreboard) -> list[SlotStatus]:
    return [slot for slot in present(scoreboard) if slot.number < scoreboard.fleet.read().wanted]


def _absence(slot: SlotStatus) -> str:
    if slot.ledger.pid:
        return SlotState(slot.ledger.state).name.lower()
    words = ending(slot.ledger.last_status)
    known = ExitCause(slot.ledger.last_cause)
    return words if known in {ExitCause.EXIT_CODE, ExitCause.SIGNAL} else f"{words}, {known.word}"


def _bounded(count: int) -> str:
    return f"more than {COUNT_BOUND - 1}" if count >= COUNT_BOUND else str(count)


def snapshot(scoreboard: Scoreboard, state: MonitorState, *, instance: int, is_stub: bool) -> dict[str, Any]:
    """The status document. It holds ids, numbers and class names only, nothing that a pupil wrote."""
    summary_state, message = summary(scoreboard, state)
    return {
        "instance": f"{instance:08x}",
        "state": summary_state,
        "message": message,
        "is_stub": is_stub,
        "metrics_address": state.http_address,
        "queue": _queue(state),
        "permit_waits": [_permit_wait(wait) for wait in state.permit_waits],
        "lost_permits": [_lost_permit(lost) for lost in state.lost_permits],
        "progress": _progress(scoreboard, state),
        "admission": _admission(state.admission) if state.admission.is_governed else None,
        "wanted_workers": scoreboard.fleet.read().wanted,
        "is_reloading": scoreboard.fleet.read().is_reloading,
        "workers": [_worker(slot) for slot in present(scoreboard)],
        "monitor": _process(scoreboard.monitor_ledger.read()),
    }


def _queue(state: MonitorState) -> dict[str, Any]:
    return {
        "is_connected": state.is_connected,
        "is_listening": state.is_listening,
        "is_pooled": state.is_pooled,
        "queued": state.stats.queued,
        "leased": state.stats.leased,
        "failed": state.stats.failed,
        "oldest_wait_seconds": state.stats.oldest_wait_seconds,
        "refused_jobs": _refused_jobs(state),
        "stuck_jobs": [{"job_id": str(job_id), "fault": fault} for job_id, fault in list(state.stuck_jobs.items())[:MAX_LISTED]],
    }


def _permit_wait(wait: PermitWait) -> dict[str, Any]:
    return {
        "model": wait.model,
        "slots": list(wait.slots),
        "since_seconds": round(time.monotonic() - wait.since_seconds, 1),
        "holders": [_permit_holder(holder) for holder in wait.holders],
    }


def _lost_permit(lost: LostPermit) -> dict[str, Any]:
    return {**_permit_holder(lost.holder), "since_seconds": round(time.monotonic() - lost.since_seconds, 1)}


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
        "vision_calls": decision.calls_of(policy.vision_model),
        "feedback_calls": decision.calls_of(policy.feedback_model),
        "reasons": [reason.name.lower() for reason in decision.reasons],
        "why": view.explanation() or None,
        "is_holding": view.is_holding,
        "locked_model": view.state.locked_model,
        "ollama": _ollama(view),
        "host": _host(view.state.host),
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


def _worker(slot: SlotStatus) -> dict[str, Any]:
    job_id = slot.claim.job_id if slot.claim and slot.ledger.pid else None
    return {
        "slot": slot.number,
        **_process(slot.ledger),
        "activity": slot.activity.name.lower() if slot.activity else None,
        "activity_seconds": _rounded(slot.activity_seconds(time.monotonic())),
        "job_id": str(job_id) if job_id else None,
        "is_retiring": slot.ledger.is_retiring,
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
