"""The state of the instance and one message about it, for `status`, /healthz and the metrics."""

import math
import time

from supervisor.core.fleet import ExitCause, ReloadProblem, SlotState
from supervisor.event_log import ending
from supervisor.monitor import outages
from supervisor.monitor.left_queued import left_in_words, troubling
from supervisor.monitor.progress import ASLEEP_SECONDS, Severity, Standstill, standstill
from supervisor.monitor.queue.refused_rows import in_short
from supervisor.monitor.rate_limits import rate_limits
from supervisor.monitor.refused_files import KEY_REFUSED
from supervisor.monitor.slot_status import SlotStatus, present
from supervisor.monitor.state import MonitorState
from supervisor.monitor.work import (
    completed_at_seconds,
    is_permit_unused,
    is_without_jobs,
    suspended_slots,
    work_facts,
    work_in_words,
)
from supervisor.wording import counted, duration, since
from worker.ipc.contract import RATE_LIMITED
from worker.ipc.scoreboard import Scoreboard
from worker.queue.polls import COUNT_BOUND

NO_RIGHT = "42501"  # SQLSTATE
STALE_SECONDS = 10.0  # far above the longest time between two polls
HEARTBEAT_LATE_SECONDS = 5.0  # beyond the supervisor's tick of one second
CUT_SECONDS = 2.0  # a worker's last commit before an outage may be so much later than the last poll
EVIDENCE_SECONDS = 30.0  # a completed job shows for so long that the workers reach the database
WORKER_OUTAGE_SECONDS = 12.0  # a worker that keeps losing its connection reports it again after a lookup (6 s) and a wait (5 s)

STATES = ("ok", "degraded", "down", "draining")

Summary = tuple[str, str]  # (ok | degraded | down | draining, message for an administrator)


def summary(scoreboard: Scoreboard, state: MonitorState) -> Summary:
    """The first check that finds something decides.

    The order is that of importance for the pupils: no feedback, later feedback, the feedback of a few.
    """
    standing = _standstill(scoreboard, state)
    return (
        _supervisor_silent(scoreboard, state)
        or _stopping(scoreboard)
        or _monitor_cut_off(scoreboard, state)
        or _database_down(state)
        or _no_worker(scoreboard)
        or _standing(standing, scoreboard, state, Severity.LONG)
        or _workers_suspended(scoreboard, state)
        or _workers_cut_off(state)
        or _held_back(state)
        or _rate_limited(scoreboard)
        or _standing(standing, scoreboard, state, Severity.EARLY)
        or _workers_missing(scoreboard)
        or _list_missing(state)
        or _permit_lost(state)
        or _instance_silent(state)
        or _old_settings(scoreboard)
        or _rows_refused(state)
        or _rows_stuck(state)
        or _jobs_ahead(state)
        or _files_refused(state)
        or _left_queued(state)
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
    return "degraded", outages.lost_by_monitor_alone(state.outage, period)


def _database_down(state: MonitorState) -> Summary | None:
    now_seconds, begun_at_seconds = time.monotonic(), state.polled_at_seconds or state.lost_at_seconds
    period = f", {since(now_seconds - begun_at_seconds)}" if begun_at_seconds else ""
    if not state.is_connected:
        address, has_error_reply = state.database_address, state.has_error_reply
        return "down", outages.lost_by_monitor(state.outage, address, period, has_error_reply=has_error_reply)
    return ("down", outages.silent(period)) if now_seconds - state.polled_at_seconds > STALE_SECONDS else None


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
        f"Nothing has moved forward, {period}, although submissions wait or are in work ({work_in_words(scoreboard, state)}). "
        f"No submission is lost. {_obstacle(scoreboard, state)}"
    )


def _workers_suspended(scoreboard: Scoreboard, state: MonitorState) -> Summary | None:
    """Before anything that a stopped worker may cause, such as the silence of its call."""
    slots = suspended_slots(scoreboard, state)
    if not slots:
        return None
    names = ", ".join(f"worker {slot.number} (process {slot.ledger.pid})" for slot in slots)
    since_seconds = min(state.suspensions.since_seconds(slot.ledger.pid) or math.inf for slot in slots)
    return "degraded", f"Suspended by a signal, {since(time.monotonic() - since_seconds)}: {names}. {_resumption(slots)}"


def _resumption(slots: list[SlotStatus]) -> str:
    pids = " ".join(str(slot.ledger.pid) for slot in slots)
    return (
        "Submissions in their hands wait, and none is lost. A worker that stays suspended is replaced at its deadline. "
        f"`kill -CONT {pids}` continues them at once."
    )


def _workers_cut_off(state: MonitorState) -> Summary | None:
    outage = _worker_outage(state)
    return ("degraded", outages.lost_by_workers(outage, state.database_address)) if outage else None


def _held_back(state: MonitorState) -> Summary | None:
    return ("degraded", state.admission.trouble(time.monotonic())) if state.admission.needs_attention else None


def _rate_limited(scoreboard: Scoreboard) -> Summary | None:
    """A foreign adapter's provider takes no calls for a while."""
    limits = rate_limits(scoreboard, time.monotonic())
    if not limits:
        return None
    steps = ", ".join(f"{step}, for another {duration(seconds)}" for step, seconds in limits.items())
    return "degraded", (
        f"The provider of the model takes no calls for a while ({RATE_LIMITED}): {steps}. Submissions wait, and none is "
        "lost or has failed. If this comes often, start fewer workers, or ask the provider for a higher limit."
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


def _list_missing(state: MonitorState) -> Summary | None:
    """Ollama does not report its loaded models, and no job is held back for that."""
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


def _instance_silent(state: MonitorState) -> Summary | None:
    """Another instance of this queue that holds jobs. The one that was heard of least recently is named."""
    silent = min(state.silent_instances, key=lambda each: each.heard_at_seconds, default=None)
    if silent is None:
        return None
    now_seconds, place = time.monotonic(), f" at {silent.address}" if silent.address else ""
    jobs = sum(each.jobs for each in state.silent_instances)
    end_seconds = max(each.leased_until_seconds for each in state.silent_instances)
    return "degraded", (
        f"Instance {silent.instance}{place} has not been heard of, {since(now_seconds - silent.heard_at_seconds)}, and "
        f"{counted(jobs, 'job')} in work cannot go on without it. No submission is lost: other workers take them over when their "
        f"leases end, in {duration(max(0.0, end_seconds - now_seconds))}. Check that host: continue the service if it was "
        "suspended, or restart it."
    )


def _old_settings(scoreboard: Scoreboard) -> Summary | None:
    number = scoreboard.fleet.read().reload_problem
    if not number:
        return None
    problem = list(ReloadProblem)[number - 1]
    if problem is ReloadProblem.NEEDS_RESTART:
        remedy = "Stop and start the service to use them, or restore the former ones and run reload."
    else:
        remedy = "The log names what to correct, then run reload."
    return "degraded", (
        f"The settings that were read last are not in use ({problem.value}). Work goes on with the settings before them. {remedy}"
    )


def _rows_refused(state: MonitorState) -> Summary | None:
    """Rows that the database refuses to change. They are passed over, and each is tried again after a growing wait."""
    rows = state.refused_rows.rows
    if not rows:
        return None
    sqlstates = [row.sqlstate for row in rows.values()]
    period = since(time.monotonic() - min(row.since_seconds for row in rows.values()))
    remedy = "correct the trigger, constraint or row that refuses it. Then work on it resumes automatically."
    if set(sqlstates) == {NO_RIGHT}:
        remedy = f"the role of the workers lacks a right. {outages.GRANT}"
    return "degraded", (
        f"The database refuses to change {counted(len(rows), 'job')} (SQLSTATE {in_short(sqlstates)}), {period}. "
        f"They wait and are tried again, and none is lost. The first one is job {next(iter(rows))}: {remedy}"
    )


def _rows_stuck(state: MonitorState) -> Summary | None:
    jobs = state.stuck_jobs
    if not jobs:
        return None
    return "degraded", (
        f"{counted(len(jobs), 'job')} can never be taken ({in_short(jobs.values())}). The other submissions go on. "
        f"The first one is job {next(iter(jobs))}: set its status to queued and its visible_at to now."
    )


def _jobs_ahead(state: MonitorState) -> Summary | None:
    """Jobs with a time that the database's clock showed once and does not show any more."""
    ahead = state.jobs_ahead
    if not ahead.count:
        return None
    return "degraded", (
        f"{counted(ahead.count, 'job')} cannot start yet, because the clock of the database was ahead when they were written. "
        f"The other submissions go on. The first one, job {ahead.first_job_id}, starts by itself in "
        f"{duration(ahead.due_in_seconds)}. To start them now, set their visible_at to now."
    )


def _left_queued(state: MonitorState) -> Summary | None:
    """Jobs that this instance cannot do: their pupils get no feedback. Last, because it may stay so for long."""
    left = troubling(state.left_queued)
    return ("degraded", left_in_words(left)) if left else None


def _files_refused(state: MonitorState) -> Summary | None:
    """Many files in a row with one reason: the store may be at fault, or a whole class needs the same sentence."""
    streak = state.refused_files.streak(time.monotonic())
    if streak is None:
        return None
    return "degraded", (
        f"The last {streak.count} files were all refused ({streak.reason}), {since(time.monotonic() - streak.since_seconds)}. "
        f"Their submissions have failed. {_remedy_of_files(streak.reason)} This message ends with the next file that is read."
    )


def _remedy_of_files(reason: str) -> str:
    if reason == KEY_REFUSED:
        return "The platform wrote storage keys that lead to no file of the bucket: tell its developers."
    return (
        "Look at one of them in the place of the files: if it is not what the pupil handed in, repair the store. Otherwise give "
        "the teacher the sentence for this reason, from docs/documents.md."
    )


def _all_well(scoreboard: Scoreboard, state: MonitorState) -> Summary:
    busy = sum(slot.is_busy for slot in present(scoreboard))
    work = f"{counted(len(_wanted(scoreboard)), 'worker')}, {busy} at work, {_bounded(state.waiting_jobs)} waiting"
    delay = f" Short delay: {state.admission.explanation()}." if state.admission.is_holding else ""
    pooler = (
        " A transaction pooler is in between, so a new submission may wait for WORKER_POLL_INTERVAL." if state.is_pooled else ""
    )
    return "ok", f"All is well: {work}.{delay}{pooler}"


def _standstill(scoreboard: Scoreboard, state: MonitorState) -> Standstill | None:
    progress = state.progress
    return standstill(progress.watch, work_facts(scoreboard, state, time.monotonic()), progress.policy)


def _obstacle(scoreboard: Scoreboard, state: MonitorState) -> str:
    """The most probable reason for a standstill, and the remedy."""
    if suspended := suspended_slots(scoreboard, state):
        return f"Workers are suspended by a signal. {_resumption(suspended)}"
    if outage := _worker_outage(state):
        return outages.lost_by_workers_in_short(outage)
    if state.admission.needs_attention:
        return f"Held back: {state.admission.explanation()}."
    if is_permit_unused(scoreboard):
        return (
            f"No worker of this instance is in a call, so another session holds the permits of the model{_sessions(state)}. "
            "Workers that wait longer than any step are replaced. If this stays, end the session that holds them."
        )
    if is_without_jobs(scoreboard):
        return (
            "The workers find no job that they may take: another instance has them, or another program holds a lock on their "
            "rows in the database. End its transaction. If there is none, restart the service."
        )
    return "Run check, and read Ollama's log. If this stays, restart the service."


def _sessions(state: MonitorState) -> str:
    """The server processes of the sessions that hold the permits, unknown for some seconds after a replacement of the workers."""
    holders = (holder for wait in state.permit_waits for holder in wait.holders)
    pids = in_short(str(holder.backend_pid) for holder in holders if holder.backend_pid)
    return f" (server process {pids})" if pids else ""


def _worker_outage(state: MonitorState) -> str:
    """The class of the latest error that broke a worker's connection, unless it is over. Empty if there is none."""
    begin_seconds = time.monotonic() - WORKER_OUTAGE_SECONDS
    outage, at_seconds = max(state.worker_outages.values(), key=lambda each: each[1], default=("", -math.inf))
    return outage if at_seconds > begin_seconds else ""


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
