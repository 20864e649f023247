"""What an operator may order while it runs, by a signal or over the control socket: each order becomes a fact, or is refused."""

import signal
from collections.abc import Iterator, Mapping
from typing import assert_never

from supervisor.core.facts import Fact, RecycleAsked, Reloaded, ReloadRejected, Scaled
from supervisor.core.fleet import Fleet
from supervisor.event_log import EventLog
from supervisor.settings.model import SettingsError
from supervisor.settings.versions import SettingsVersions
from worker.ipc.channel import Command, CommandResult, RecycleCommand, ReloadCommand, ScaleCommand
from worker.ipc.scoreboard import MAX_SLOTS

BY_SIGNAL = 0  # the number of an order whose answer nobody waits for


def signalled(heard: Mapping[int, int], fleet: Fleet) -> Iterator[Command]:
    """SIGHUP reads the settings again; each SIGTTIN is one worker more, each SIGTTOU one less."""
    more = heard.get(signal.SIGTTIN, 0) - heard.get(signal.SIGTTOU, 0)
    workers = min(max(fleet.wanted + more, 1), MAX_SLOTS)
    if workers != fleet.wanted:
        yield ScaleCommand(number=BY_SIGNAL, workers=workers)
    if heard.get(signal.SIGHUP, 0):
        yield ReloadCommand(number=BY_SIGNAL)


class CommandHandler:
    """Each wrong setting is told in the log; the answer names them all."""

    def __init__(self, settings_versions: SettingsVersions, journal: EventLog) -> None:
        self._configurations, self._journal = settings_versions, journal

    def take(self, order: Command, fleet: Fleet, now_seconds: float) -> tuple[CommandResult, Fact | None]:
        """What will be done about it."""
        if fleet.is_stopping:
            return CommandResult(number=order.number, outcome="stopping", workers=fleet.wanted), None
        match order:
            case ScaleCommand(number=number, workers=workers):
                return CommandResult(number=number, outcome="accepted", workers=workers), Scaled(workers, now_seconds)
            case RecycleCommand():
                return _recycle(order, fleet, now_seconds)
            case ReloadCommand(number=number):
                return self._reload(number, fleet, now_seconds)
            case _:
                assert_never(order)

    def _reload(self, number: int, fleet: Fleet, now_seconds: float) -> tuple[CommandResult, Fact]:
        try:
            in_use = {fleet.generation, fleet.last_good_generation, *(slot.generation for slot in fleet.slots)}
            generation = self._configurations.read_again(in_use)
        except SettingsError as error:
            for problem in error.problems:
                self._journal.wrong_setting(problem)
            names = tuple(problem.variable for problem in error.problems)
            answer = CommandResult(number=number, outcome="wrong_settings", workers=fleet.wanted, names=names)
            return answer, ReloadRejected(len(names), now_seconds)
        own = self._configurations.of(generation).supervisor
        self._journal.set_level(own.log_level)
        workers = own.worker_concurrency
        return CommandResult(number=number, outcome="accepted", workers=workers), Reloaded(generation, workers, now_seconds)


def _recycle(order: RecycleCommand, fleet: Fleet, now_seconds: float) -> tuple[CommandResult, Fact | None]:
    """All or nothing: an operator who names a slot that has no worker means something else."""
    occupied = {slot.number for slot in fleet.wanted_workers if slot.is_occupied}
    slots = tuple(sorted(occupied)) if order.slots == "all" else order.slots
    missing = tuple(str(slot) for slot in slots if slot not in occupied)
    if missing or not slots:
        return CommandResult(number=order.number, outcome="no_worker", workers=fleet.wanted, names=missing), None
    return CommandResult(number=order.number, outcome="accepted", workers=fleet.wanted), RecycleAsked(slots, now_seconds)
