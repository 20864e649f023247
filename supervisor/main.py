"""The composition root: puts settings, system, children and loop together."""

import os
from collections.abc import Callable

from supervisor import loop
from supervisor.adapters import processes
from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.instance import Instance
from supervisor.adapters.log_stream import LogStream
from supervisor.adapters.signals import SignalInbox
from supervisor.commands import CommandHandler
from supervisor.core.fleet import Fleet
from supervisor.core.policy import Policy
from supervisor.event_log import EventLog
from supervisor.launcher import ChildLauncher
from supervisor.settings.model import Settings, SupervisorSettings, take_service_manager
from supervisor.settings.versions import SettingsVersions
from supervisor.system import UnixSystem
from supervisor.systemd import Notifier
from worker.ipc.scoreboard import AdmissionRecord, Scoreboard


def start(settings: Settings, read_again: Callable[[], Settings]) -> int:
    """Supervises until asked to stop; the exit code. Raises RuntimeDirectoryError."""
    notifier = Notifier(take_service_manager())
    journal = EventLog(settings.supervisor.log_level, LogStream().write)
    instance = Instance(settings.supervisor.runtime_path, settings.worker.database)
    signals = SignalInbox()
    signals.install()
    processes.become_subreaper()
    settings_versions = SettingsVersions(settings, read_again)
    launcher = ChildLauncher(settings_versions, instance, Scoreboard(), Descriptors(), journal)
    system = UnixSystem(
        launcher.scoreboard,
        launcher.descriptors,
        signals,
        launcher.run_child,
        lambda generation: policy(settings_versions.of(generation)),
        CommandHandler(settings_versions, journal),
        notifier,
    )
    journal.started(pid=os.getpid(), instance=f"{instance.number:08x}", workers=settings.supervisor.worker_concurrency)
    if settings.worker.invents_something:
        journal.stub_in_use()
    if settings.supervisor.ollama_memory_limit and settings.worker.asks_a_model:  # nobody leases before the monitor has looked
        launcher.scoreboard.admission.write(AdmissionRecord(until_seconds=0.0))
    launcher.preload()
    processes.freeze_memory()
    end = loop.run(system, Fleet.of(settings.supervisor.worker_concurrency), journal)
    if not end.leases_left:  # else the next supervisor has to find whose they are
        instance.retire()
    return end.exit_code


def policy(settings: Settings) -> Policy:
    """The settings' numbers as the rules take them."""
    own: SupervisorSettings = settings.supervisor
    return Policy(
        boot_timeout_seconds=own.boot_timeout_seconds,
        terminate_grace_seconds=settings.worker.terminate_grace_seconds,
        drain_timeout_seconds=own.drain_timeout_seconds,
        drain_shortened_seconds=own.drain_shortened_seconds,
        backoff_seconds=own.restart_backoff_seconds,
        backoff_max_seconds=own.restart_backoff_max_seconds,
        healthy_after_seconds=own.healthy_after_seconds,
        restart_window_seconds=own.restart_window_seconds,
        restart_intensity=own.restart_intensity,
        memory_soft_bytes=own.worker_memory_soft_bytes,
        memory_hard_bytes=own.worker_memory_hard_bytes,
        minimum_lifetime_seconds=own.worker_minimum_lifetime_seconds,
    )
