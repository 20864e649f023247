"""The composition root: makes the log, the system and the children's launcher from the settings, and runs the loop."""

import os
from collections.abc import Callable

from supervisor import loop
from supervisor.adapters import processes
from supervisor.adapters.authorities import ensure_authorities
from supervisor.adapters.descriptor_limit import ensure_descriptors
from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.instance import Instance
from supervisor.adapters.log_stream import LogStream
from supervisor.adapters.signals import SignalInbox, block_all
from supervisor.commands import CommandHandler
from supervisor.core.fleet import Fleet
from supervisor.event_log import EventLog
from supervisor.instance_guard import InstanceGuard
from supervisor.launcher import ChildLauncher
from supervisor.settings.model import Settings, take_service_manager
from supervisor.settings.policy import policy_of
from supervisor.settings.versions import SettingsVersions
from supervisor.system import UnixSystem
from supervisor.systemd import Notifier
from worker.ipc.scoreboard import AdmissionRecord, Scoreboard


def start(settings: Settings, read_again: Callable[[], Settings]) -> int:
    """Supervise until asked to stop, and return the exit code. Raises CannotStart."""
    processes.ensure_one_thread()
    ensure_descriptors()
    ensure_authorities()
    notifier = Notifier(take_service_manager())
    log = EventLog(settings.supervisor.log_level, LogStream().write)
    instance = Instance(settings.supervisor.runtime_path, settings.worker.database)
    signals = _handle_signals_and_orphans()
    launcher = _launcher(settings, read_again, instance, log)
    system = _system(launcher, signals, notifier, InstanceGuard(instance, log))
    _log_start(log, settings, instance)
    _prepare_forks(launcher, settings)
    return _run(system, settings, launcher)


def _handle_signals_and_orphans() -> SignalInbox:
    signals = SignalInbox()
    signals.install()
    processes.become_subreaper()
    return signals


def _launcher(settings: Settings, read_again: Callable[[], Settings], instance: Instance, log: EventLog) -> ChildLauncher:
    return ChildLauncher(SettingsVersions(settings, read_again), instance, Scoreboard(), Descriptors(), log)


def _system(launcher: ChildLauncher, signals: SignalInbox, notifier: Notifier, guard: InstanceGuard) -> UnixSystem:
    return UnixSystem(
        launcher.scoreboard,
        launcher.descriptors,
        signals,
        launcher.run_child,
        lambda generation: policy_of(launcher.settings_versions.of(generation)),
        CommandHandler(launcher.settings_versions, launcher.event_log),
        notifier,
        guard.check,
    )


def _log_start(log: EventLog, settings: Settings, instance: Instance) -> None:
    log.started(pid=os.getpid(), instance=f"{instance.number:08x}", workers=settings.supervisor.worker_concurrency)
    for variable in settings.unknown:
        log.unknown_setting(variable=variable.name, remedy=variable.remedy)
    if settings.worker.invents_something:
        log.stub_in_use()


def _prepare_forks(launcher: ChildLauncher, settings: Settings) -> None:
    """Close admission until the monitor has measured Ollama, if a limit is set, and load what all children share."""
    if settings.supervisor.ollama_memory_limit and settings.worker.asks_a_model:
        launcher.scoreboard.admission.write(AdmissionRecord(until_seconds=0.0))
    launcher.preload()
    processes.freeze_memory()


def _run(system: UnixSystem, settings: Settings, launcher: ChildLauncher) -> int:
    """Run the loop to its end. The lock file stays if leases are left, because the next supervisor finds them by it."""
    end = loop.run(system, Fleet.of(settings.supervisor.worker_concurrency), launcher.event_log)
    block_all()
    if not end.leases_left:
        launcher.instance.retire()
    return end.exit_code
