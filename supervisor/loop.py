"""The supervisor's loop: facts, record, decide, actions. One thread; it sleeps in one place and blocks in none."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from supervisor.core.action import Action, Finish
from supervisor.core.decide import control, decide, wake_at
from supervisor.core.fact import Fact, record
from supervisor.core.fleet import Fleet
from supervisor.core.policy import Policy
from worker.scoreboard import ControlRecord


class World(Protocol):
    """Where facts come from and actions go to."""

    def now(self) -> float: ...
    def wait(self, fleet: Fleet, until_seconds: float) -> Iterator[Fact]: ...
    def perform(self, action: Action, fleet: Fleet) -> Iterator[Fact]: ...
    def instruct(self, control: ControlRecord) -> None: ...
    def publish(self, fleet: Fleet) -> None: ...


class Witness(Protocol):
    """Who is told everything that passes through the loop."""

    def fact(self, fact: Fact) -> None: ...
    def action(self, action: Action) -> None: ...


def run(world: World, fleet: Fleet, policy: Policy, witness: Witness) -> Finish:
    """Supervises until nothing is left to do; how it ended."""
    while True:
        world.instruct(control(fleet, policy))
        for action in decide(fleet, policy, world.now()):
            witness.action(action)
            if isinstance(action, Finish):
                return action
            fleet = _recorded(fleet, world.perform(action, fleet), witness)
        world.publish(fleet)
        until_seconds = wake_at(fleet, policy, world.now())
        fleet = _recorded(fleet, world.wait(fleet, until_seconds), witness)


def _recorded(fleet: Fleet, facts: Iterable[Fact], witness: Witness) -> Fleet:
    for fact in facts:
        witness.fact(fact)
        fleet = record(fleet, fact)
    return fleet
