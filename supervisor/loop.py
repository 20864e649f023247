"""The supervisor's loop: facts, record, decide, actions. One thread; it sleeps in one place and blocks in none."""

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
    """Where facts come from and actions go to.

    `policy` is that of the settings of a generation; `write_control_record` also wakes the workers whose `retiring` bit is new.
    """

    def now(self) -> float: ...
    def policy(self, generation: int) -> Policy: ...
    def wait(self, fleet: Fleet, until_seconds: float) -> Iterator[Fact]: ...
    def perform(self, action: Action, fleet: Fleet) -> Iterator[Fact]: ...
    def write_control_record(self, control: ControlRecord) -> None: ...
    def publish(self, fleet: Fleet) -> None: ...


class Observer(Protocol):
    """Who is told everything that passes through the loop; each fact with the fleet after it."""

    def fact(self, fact: Fact, fleet: Fleet) -> None: ...
    def action(self, action: Action) -> None: ...


def run(system: System, fleet: Fleet, witness: Observer) -> Finish:
    """Supervises until nothing is left to do; how it ended.

    Workers are instructed twice in a turn: before anybody is signalled, and when it is known who retires.
    """
    while True:
        policy = system.policy(fleet.generation)
        system.write_control_record(control(fleet, policy))
        for action in decide(fleet, policy, system.now()):
            witness.action(action)
            if isinstance(action, Finish):
                return action
            fleet = _recorded(fleet, system.perform(action, fleet), witness)
        system.write_control_record(control(fleet, policy))
        system.publish(fleet)
        until_seconds = wake_at(fleet, policy, system.now())
        fleet = _recorded(fleet, system.wait(fleet, until_seconds), witness)


def _recorded(fleet: Fleet, facts: Iterable[Fact], witness: Observer) -> Fleet:
    for fact in facts:
        fleet = apply(fleet, fact)
        witness.fact(fact, fleet)
    return fleet
