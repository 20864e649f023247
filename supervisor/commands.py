"""Commands of an operator, sent by signals or over the control socket. Each one becomes a fact or is rejected."""

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

from supervisor.adapters.signals import Effect
from supervisor.core.facts import Fact, RecycleAsked, Reloaded, ReloadRejected, Scaled
from supervisor.core.fleet import Fleet
from supervisor.event_log import EventLog
from supervisor.settings.problems import SettingsError
from supervisor.settings.versions import FixedSettingChanged, SettingsVersions
from worker.ipc.channel import MAX_NAME_LENGTH, MAX_NAMES, Command, CommandResult, RecycleCommand, ReloadCommand, ScaleCommand
from worker.ipc.scoreboard import MAX_SLOTS

BY_SIGNAL = 0  # the number of a command that gets no answer


def commands_of(requested: Mapping[Effect, int], fleet: Fleet) -> Iterator[Command]:
    """Yield the commands that signals have requested, by how often each effect was requested."""
    more = requested.get(Effect.ADD_WORKER, 0) - requested.get(Effect.REMOVE_WORKER, 0)
    workers = min(max(fleet.wanted + more, 1), MAX_SLOTS)
    if workers != fleet.wanted:
        yield ScaleCommand(number=BY_SIGNAL, workers=workers)
    if requested.get(Effect.RELOAD, 0):
        yield ReloadCommand(number=BY_SIGNAL)


class CommandHandler:
    """Turns commands into facts. A stopping fleet rejects all of them."""

    def __init__(self, settings_versions: SettingsVersions, event_log: EventLog) -> None:
        self._settings_versions, self._log = settings_versions, event_log

    def handle(self, command: Command, fleet: Fleet, now_seconds: float) -> tuple[CommandResult, Fact | None]:
        """Return the answer for the operator, and the fact if the command is accepted or its settings are wrong."""
        if fleet.is_stopping:
            return CommandResult(number=command.number, outcome="stopping", workers=fleet.wanted), None
        match command:
            case ScaleCommand(number=number, workers=workers):
                return CommandResult(number=number, outcome="accepted", workers=workers), Scaled(workers, now_seconds)
            case RecycleCommand():
                return _recycle(command, fleet, now_seconds)
            case ReloadCommand(number=number):
                return self._reload(number, fleet, now_seconds)
            case _:
                assert_never(command)

    def drop(self, command: Command) -> None:
        """Log a command that its sender has withdrawn, because this process was suspended or too slow."""
        self._log.command_expired(command=command.kind)

    def _reload(self, number: int, fleet: Fleet, now_seconds: float) -> tuple[CommandResult, Fact]:
        """Read the settings again. Each wrong one is logged with its remedy, and the answer names them all."""
        try:
            in_use = {fleet.generation, fleet.last_good_generation, *(slot.generation for slot in fleet.slots)}
            generation = self._settings_versions.read_again(in_use)
        except SettingsError as error:
            return self._reject_reload(number, fleet, error), _rejected(error, now_seconds)
        own, names = self._settings_versions.of(generation).supervisor, self._settings_versions.changed_since(fleet.generation)
        self._log.settings_changed(names)
        self._log.set_level(own.log_level)
        workers = own.worker_concurrency
        result = CommandResult(number=number, outcome="accepted", workers=workers, names=_bounded(names))
        return result, Reloaded(generation, workers, now_seconds)

    def _reject_reload(self, number: int, fleet: Fleet, error: SettingsError) -> CommandResult:
        for problem in error.problems:
            self._log.wrong_setting(problem)
        names = _bounded(problem.variable for problem in error.problems)
        return CommandResult(
            number=number,
            outcome="needs_restart" if isinstance(error, FixedSettingChanged) else "wrong_settings",
            workers=fleet.wanted,
            names=names,
        )


def _rejected(error: SettingsError, now_seconds: float) -> ReloadRejected:
    return ReloadRejected(len(error.problems), now_seconds, needs_restart=isinstance(error, FixedSettingChanged))


def _bounded(names: Iterable[str]) -> tuple[str, ...]:
    """As many names, and as much of each, as a message may have. A name of the settings file has any length."""
    return tuple(name[:MAX_NAME_LENGTH] for name in names)[:MAX_NAMES]


def _recycle(command: RecycleCommand, fleet: Fleet, now_seconds: float) -> tuple[CommandResult, Fact | None]:
    """Accept all slots or reject the command: a slot without a worker is probably a mistake of the operator."""
    occupied = {slot.number for slot in fleet.wanted_workers if slot.is_occupied}
    slots = tuple(sorted(occupied)) if command.slots == "all" else command.slots
    missing = tuple(str(slot) for slot in slots if slot not in occupied)
    if missing or not slots:
        return CommandResult(number=command.number, outcome="no_worker", workers=fleet.wanted, names=missing), None
    return CommandResult(number=command.number, outcome="accepted", workers=fleet.wanted), RecycleAsked(slots, now_seconds)
