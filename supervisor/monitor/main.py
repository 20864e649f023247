"""The monitor process: the first code after the fork. One event loop, no thread."""

import asyncio
import functools
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from supervisor.event_log import EventLog
from supervisor.monitor.events import Events
from supervisor.monitor.http import serve_control, serve_metrics
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.ollama.controller import AdmissionController, AdmissionDependencies
from supervisor.monitor.ollama.host import Host, total_memory_bytes
from supervisor.monitor.ollama.policy import admission_policy
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.pending_commands import PendingCommands
from supervisor.monitor.queue.listener import QueueListener
from supervisor.monitor.queue.model_lock import ModelLockClient
from supervisor.monitor.queue.reclaimer import LeaseReclaimer
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.status import snapshot
from supervisor.settings.model import Settings
from worker.ipc import channel
from worker.ipc.contract import ExitCode, place_of
from worker.ipc.scoreboard import Scoreboard
from worker.ollama.address import server_name
from worker.queue.connection import UnsuitableDatabase


@dataclass(frozen=True, slots=True)
class MonitorWiring:
    """What the monitor inherits from the supervisor."""

    instance: int
    incarnation: int
    scoreboard: Scoreboard
    channel_fd: int
    lifeline_fd: int
    wake_fds: list[int]
    event_fds: list[int]
    directory: Path
    control_socket: Path


def run(wiring: MonitorWiring, settings: Settings, journal: EventLog) -> int:
    """Runs the monitor to its end; the exit code."""
    logging.disable(logging.CRITICAL)  # aiohttp's own lines would go past the journal
    code = ExitCode.DONE
    try:
        asyncio.run(_monitor(wiring, settings, journal))
    except* UnsuitableDatabase as refusals:
        journal.unsuitable_database(str(refusals.exceptions[0]))
        code = ExitCode.CONFIG
    except* Exception as bugs:  # noqa: BLE001  the last words of the process: told by class and place, then the exit code
        for bug in bugs.exceptions:
            journal.monitor_bug(error=type(bug).__name__, at=place_of(bug))
        code = ExitCode.BUG
    return code


async def _monitor(wiring: MonitorWiring, settings: Settings, journal: EventLog) -> None:
    waker = Waker(wiring.scoreboard, wiring.wake_fds)
    releases = LeaseReclaimer(
        wiring.channel_fd, wiring.directory, settings.worker.database, settings.worker.worker_max_crashes, journal
    )
    dependencies = _dependencies(settings)
    watch = QueueListener(settings.worker, wiring.scoreboard, wiring.incarnation, releases, dependencies.keeper, waker, journal)
    ollama = AdmissionController(dependencies, wiring.scoreboard, watch.sight, waker, journal)
    dependencies.keeper.stir, dependencies.keeper.on_model_lock, watch.on_look = (
        watch.stir,
        ollama.model_lock_changed,
        ollama.stir,
    )
    metrics = Metrics(wiring.scoreboard, watch.sight)
    events = Events(wiring.event_fds, metrics, waker, watch, ollama, journal)
    shown = functools.partial(
        snapshot, wiring.scoreboard, watch.sight, instance=wiring.instance, is_stub=settings.worker.invents_something
    )
    orders = PendingCommands(wiring.channel_fd)
    stop = _attach(wiring, events, releases, orders, watch)
    address = settings.supervisor.status_addr
    async with asyncio.TaskGroup() as tasks:
        serving = (
            watch.run(),
            ollama.run(),
            serve_control(wiring.control_socket, shown, orders, journal),
            serve_metrics(address, metrics, shown, watch.sight.bound_to, journal),
        )
        running = [tasks.create_task(each) for each in serving]
        await stop.wait()
        events.take_all()  # the last words of workers that have just left
        for task in running:
            task.cancel()


def _dependencies(settings: Settings) -> AdmissionDependencies:
    """What of Ollama is looked at, and by which rules. A limit may be a share of this host's memory."""
    policy = admission_policy(settings, total_memory_bytes())
    return AdmissionDependencies(
        policy,
        settings.worker,
        OllamaServer(settings.worker.ollama_base_url, settings.supervisor.ollama_load_timeout_seconds),
        Host.of(settings),
        ModelLockClient(server_name(settings.worker.ollama_base_url), policy.models),
    )


def _attach(
    wiring: MonitorWiring, events: Events, releases: LeaseReclaimer, orders: PendingCommands, watch: QueueListener
) -> asyncio.Event:
    """Everything that comes by a descriptor or a signal; the event that ends the monitor."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def take_messages() -> None:
        for message in channel.receive(wiring.channel_fd) or ():
            if isinstance(message, channel.ReclaimLeaseRequest):
                releases.take(message)
            elif isinstance(message, channel.CommandResult):
                orders.answered(message)
        watch.stir()

    loop.add_reader(wiring.lifeline_fd, os._exit, ExitCode.SUPERVISOR_GONE)
    loop.add_reader(wiring.channel_fd, take_messages)
    for slot, fd in enumerate(wiring.event_fds):
        loop.add_reader(fd, events.take, slot)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    return stop
