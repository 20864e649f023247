"""The monitor process: the first code after the fork. One event loop, no thread."""

import asyncio
import functools
import logging
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.event_log import EventLog
from supervisor.monitor.document import snapshot
from supervisor.monitor.events import EventReader
from supervisor.monitor.http import serve_control, serve_metrics
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.ollama.controller import AdmissionController, AdmissionDependencies
from supervisor.monitor.ollama.host import Host, total_memory_bytes
from supervisor.monitor.ollama.policy import admission_policy
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.pending_commands import PendingCommands
from supervisor.monitor.progress import ProgressPolicy
from supervisor.monitor.progress_watch import ProgressWatch
from supervisor.monitor.queue.listener import ConnectionUsers, QueueListener
from supervisor.monitor.queue.model_lock import ModelLockClient
from supervisor.monitor.queue.permit_watch import PermitWatch
from supervisor.monitor.queue.reclaimer import LeaseReclaimer
from supervisor.monitor.queue.requests import DatabaseRequests
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from supervisor.monitor.store.probe import StoreProbe
from supervisor.settings.model import Settings
from supervisor.settings.policy import policy_of
from worker.ipc import channel
from worker.ipc.contract import ExitCode, place_of
from worker.ipc.scoreboard import Scoreboard
from worker.ipc.signals import HARMLESS_SIGNALS, STOP_SIGNALS, TERMINAL_SIGNALS
from worker.ollama.address import server_name
from worker.ollama.deadline import FIRST_TOKEN_SHARE
from worker.queue.connection import UnsuitableDatabase
from worker.queue.dsn import address_of
from worker.queue.leases import LeaseOwner


@dataclass(frozen=True, slots=True)
class MonitorWiring:
    """Resources that the monitor inherits from the supervisor."""

    instance: int
    incarnation: int
    scoreboard: Scoreboard
    channel_fd: int
    token_fd: int
    lifeline_fd: int
    wake_fds: list[int]
    event_fds: list[int]
    directory: Path
    control_socket: Path


def run(wiring: MonitorWiring, settings: Settings, event_log: EventLog) -> int:
    """Runs the monitor to its end and returns its exit code."""
    logging.disable(logging.CRITICAL)  # aiohttp's own lines would not pass through the event log
    code = ExitCode.DONE
    try:
        asyncio.run(_monitor(wiring, settings, event_log))
    except* UnsuitableDatabase as refusals:
        event_log.unsuitable_database(str(refusals.exceptions[0]))
        code = ExitCode.CONFIG
    except* Exception as bugs:  # noqa: BLE001  the process ends here: log class and place of the bug, then exit with its code
        for bug in bugs.exceptions:
            event_log.monitor_bug(error=type(bug).__name__, at=place_of(bug))
        code = ExitCode.BUG
    return code


async def _monitor(wiring: MonitorWiring, settings: Settings, event_log: EventLog) -> None:
    """Builds the parts, each from parts above it, and runs the five tasks until SIGTERM."""
    board, requests = wiring.scoreboard, DatabaseRequests()
    address = address_of(settings.worker.learning_database_url.get_secret_value())
    state = MonitorState(supervisor_pid=os.getppid(), database_address=address, unknown_settings=settings.unknown)
    waker = Waker(board, wiring.wake_fds)
    admission = AdmissionController(_admission_dependencies(settings, requests), board, state, waker, event_log)
    permits = PermitWatch(settings.worker, board, state, event_log)
    reclaimer, model_lock = _reclaimer(wiring, settings, state, event_log), _model_lock(settings, admission, permits)
    users = ConnectionUsers(requests, reclaimer, model_lock, permits, waker, on_poll=admission.wake)
    state.progress.policy = _progress_policy(settings, admission)
    listener = QueueListener(settings.worker, board, LeaseOwner(wiring.instance, wiring.incarnation), state, users, event_log)
    metrics, commands = Metrics(board, state), PendingCommands(wiring.channel_fd, wiring.token_fd)
    events = EventReader(wiring.event_fds, metrics, state, requests, waker, admission, event_log)
    status = functools.partial(snapshot, board, state, instance=wiring.instance, is_stub=settings.worker.invents_something)
    stop = _attach(wiring, events, requests, commands)
    await _run_until(
        stop,
        events,
        listener.run(),
        admission.run(),
        ProgressWatch(board, state, requests, waker, event_log).run(),
        serve_control(wiring.control_socket, status, commands, event_log),
        serve_metrics(settings.supervisor.status_addr, metrics, status, state.set_http_address, event_log),
    )


async def _run_until(stop: asyncio.Event, events: EventReader, *tasks: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(task) for task in tasks]
        await stop.wait()
        events.read_all()  # the last events of workers that have just exited
        for task in running:
            task.cancel()


def _admission_dependencies(settings: Settings, requests: DatabaseRequests) -> AdmissionDependencies:
    return AdmissionDependencies(
        admission_policy(settings, total_memory_bytes()),
        settings.worker,
        OllamaServer(settings.worker.ollama_base_url, settings.supervisor.ollama_load_timeout_seconds),
        StoreProbe(settings.worker),
        Host.of(settings),
        requests,
    )


def _progress_policy(settings: Settings, admission: AdmissionController) -> ProgressPolicy:
    return ProgressPolicy(
        policy_of(settings).longest_step_seconds,
        settings.supervisor.ollama_load_timeout_seconds,
        {model: FIRST_TOKEN_SHARE * admission.timeout_seconds(model) for model in admission.models},
    )


def _reclaimer(wiring: MonitorWiring, settings: Settings, state: MonitorState, event_log: EventLog) -> LeaseReclaimer:
    worker = settings.worker
    return LeaseReclaimer(
        wiring.channel_fd, wiring.directory, worker.database, worker.worker_max_crashes, event_log, state.refused_rows
    )


def _model_lock(settings: Settings, admission: AdmissionController, permits: PermitWatch) -> ModelLockClient:
    server = server_name(settings.worker.ollama_base_url)
    return ModelLockClient(server, admission.models, permits, admission.model_lock_changed)


def _attach(wiring: MonitorWiring, events: EventReader, requests: DatabaseRequests, commands: PendingCommands) -> asyncio.Event:
    """Registers descriptors and signals with the loop. The returned event is set by SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(wiring.lifeline_fd, os._exit, ExitCode.SUPERVISOR_GONE)
    loop.add_reader(wiring.channel_fd, _read_channel, wiring.channel_fd, requests, commands)
    for slot, fd in enumerate(wiring.event_fds):
        loop.add_reader(fd, events.read, slot)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, *HARMLESS_SIGNALS, *STOP_SIGNALS, *TERMINAL_SIGNALS):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    return stop


def _read_channel(fd: int, requests: DatabaseRequests, commands: PendingCommands) -> None:
    """Reads the supervisor's messages."""
    for message in channel.receive(fd) or ():
        if isinstance(message, channel.ReclaimLeaseRequest):
            requests.send(message)
        elif isinstance(message, channel.CommandResult):
            commands.set_result(message)
