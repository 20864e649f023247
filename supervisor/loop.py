"""The supervisor's loop: facts, apply, decide, actions. It has one thread, sleeps in one place and blocks in none."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from supervisor.core.actions import Action, Finish
from supervisor.core.apply import apply
from supervisor.core.facts import Fact
from supervisor.core.fleet import Fleet
from supervisor.core.policy import Policy
from supervisor.core.rules import control, decide, wake_at
from worker.ipc.scoreboard import ControlRecord


class System(Protocol):
    """The source of facts and the executor of actions.

    `policy` returns the policy of a generation of settings.
    `write_control_record` also wakes workers whose `retiring` bit is new.
    """

    def now(self) -> float: ...
    def policy(self, generation: int) -> Policy: ...
    def wait(self, fleet: Fleet, until_seconds: float) -> Iterator[Fact]: ...
    def perform(self, action: Action, fleet: Fleet) -> Iterator[Fact]: ...
    def write_control_record(self, control: ControlRecord) -> None: ...
    def publish(self, fleet: Fleet) -> None: ...


class Observer(Protocol):
    """A reader of all facts and actions of the loop. It gets each fact with the fleet after it."""

    def fact(self, fact: Fact, fleet: Fleet) -> None: ...
    def action(self, action: Action) -> None: ...


def run(system: System, fleet: Fleet, observer: Observer) -> Finish:
    """Supervise until nothing is left to do, and return how it ended.

    Each turn writes the control record twice: before signals are sent, and when the retiring workers are known.
    """
    while True:
        policy = system.policy(fleet.generation)
        system.write_control_record(control(fleet, policy))
        for action in decide(fleet, policy, system.now()):
            observer.action(action)
            if isinstance(action, Finish):
                return action
            fleet = _applied(fleet, system.perform(action, fleet), observer)
        system.write_control_record(control(fleet, policy))
        system.publish(fleet)
        until_seconds = wake_at(fleet, policy, system.now())
        fleet = _applied(fleet, system.wait(fleet, until_seconds), observer)


def _applied(fleet: Fleet, facts: Iterable[Fact], observer: Observer) -> Fleet:
    for fact in facts:
        fleet = apply(fleet, fact)
        observer.fact(fact, fleet)
    return fleet
