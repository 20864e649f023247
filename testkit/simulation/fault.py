"""The effect of each kind of fault on the simulated world."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from supervisor.core.facts import FactOfTheFleet, RecycleAsked, Reloaded, ReloadRejected, Scaled, StopAsked
from supervisor.core.fleet import MONITOR
from testkit.simulation.plan import Fault, Kind
from testkit.simulation.process import BUG, MEBIBYTE, SIGKILL, SIGSEGV, Process

if TYPE_CHECKING:
    from testkit.simulation.world import World

MOST_WORKERS = 8
LEAK_BYTES, HOG_BYTES = 600 * MEBIBYTE, 3000 * MEBIBYTE


def break_something(world: World, fault: Fault) -> None:
    """Apply the fault now. A fault of a worker has no effect if no worker lives."""
    world.inspector.note(fault)
    _KINDS[fault.kind](world, fault)


def _to_a_worker(do: Callable[[Process, World, Fault], None]) -> Callable[[World, Fault], None]:
    def apply_to_one(world: World, fault: Fault) -> None:
        if workers := world.workers():
            do(workers[fault.number % len(workers)], world, fault)

    return apply_to_one


def _kill_all(world: World, _fault: Fault) -> None:
    for worker in world.workers():
        worker.end(SIGKILL)


def _hang(process: Process, _world: World, _fault: Fault) -> None:
    process.hang()


def _freeze(process: Process, world: World, fault: Fault) -> None:
    process.freeze()
    world.clock.at(world.clock.now + fault.seconds, process.thaw)


def _leak(process: Process, _world: World, _fault: Fault) -> None:
    process.hold(process.rss_bytes + LEAK_BYTES)


def _hog(process: Process, _world: World, _fault: Fault) -> None:
    process.hold(HOG_BYTES)


def _lose_permit(process: Process, world: World, _fault: Fault) -> None:
    world.permit_holder = process


def _slow_boots(world: World, fault: Fault) -> None:
    world.slow_boots_until[fault.number % MOST_WORKERS] = world.clock.now + fault.seconds


def _bad_boots(world: World, fault: Fault) -> None:
    world.bad_boots_until[fault.number % MOST_WORKERS] = world.clock.now + 2 * fault.seconds


def _no_boots(world: World, fault: Fault) -> None:
    """Let all boots fail and kill all workers, so that no worker can make progress."""
    for slot in range(MOST_WORKERS):
        world.bad_boots_until[slot] = world.clock.now + fault.seconds
    _kill_all(world, fault)


def _no_forks(world: World, fault: Fault) -> None:
    world.forks_fail_until = world.clock.now + fault.seconds


def _monitor_dies(world: World, _fault: Fault) -> None:
    if monitor := world.processes.get(MONITOR):
        monitor.end(SIGKILL)


def _monitor_hangs(world: World, _fault: Fault) -> None:
    if monitor := world.processes.get(MONITOR):
        monitor.hang()


def _outage(world: World, fault: Fault) -> None:
    world.set_database(is_up=False)
    world.clock.at(world.clock.now + fault.seconds, lambda: world.set_database(is_up=True))


def _stop(world: World, fault: Fault) -> None:
    """Request a stop one, two or three times, some of them while the first drain still runs."""
    for request in range(1 + fault.number % 3):
        world.clock.at(world.clock.now + request * min(fault.seconds, 8.0), lambda: _request(world, StopAsked(world.clock.now)))


def _stop_alone(world: World, fault: Fault) -> None:
    _monitor_hangs(world, fault)
    _kill_all(world, fault)
    _request(world, StopAsked(world.clock.now))


def _scale(world: World, fault: Fault) -> None:
    _request(world, Scaled(1 + fault.number % MOST_WORKERS, world.clock.now))


def _recycle(world: World, fault: Fault) -> None:
    _request(world, RecycleAsked(tuple(range(1 + fault.number % MOST_WORKERS)), world.clock.now))


def _reload(world: World, fault: Fault) -> None:
    world.generation += 1
    _request(world, Reloaded(world.generation, 1 + fault.number % 4, world.clock.now))


def _reload_wrong(world: World, _fault: Fault) -> None:
    _request(world, ReloadRejected(1, world.clock.now))


def _reload_bad(world: World, fault: Fault) -> None:
    world.bad_generations.add(world.generation + 1)
    _reload(world, fault)


def _request(world: World, fact: FactOfTheFleet) -> None:
    if world.clock.now < world.calm_at:
        world.request(fact)


_KINDS: dict[Kind, Callable[[World, Fault], None]] = {
    Kind.KILL: _to_a_worker(lambda process, *_: process.end(SIGKILL)),
    Kind.KILL_ALL: _kill_all,
    Kind.SEGFAULT: _to_a_worker(lambda process, *_: process.end(SIGSEGV)),
    Kind.BUG: _to_a_worker(lambda process, *_: process.end(BUG)),
    Kind.LEAVE: _to_a_worker(lambda process, *_: process.end(0)),
    Kind.OOM: _to_a_worker(lambda process, *_: process.end(SIGKILL, is_oom=True)),
    Kind.HANG: _to_a_worker(_hang),
    Kind.FREEZE: _to_a_worker(_freeze),
    Kind.LEAK: _to_a_worker(_leak),
    Kind.HOG: _to_a_worker(_hog),
    Kind.SLOW_BOOTS: _slow_boots,
    Kind.BAD_BOOTS: _bad_boots,
    Kind.NO_BOOTS: _no_boots,
    Kind.NO_FORKS: _no_forks,
    Kind.MONITOR_DIES: _monitor_dies,
    Kind.MONITOR_HANGS: _monitor_hangs,
    Kind.PERMIT_LOST: _to_a_worker(_lose_permit),
    Kind.OUTAGE: _outage,
    Kind.STOP: _stop,
    Kind.STOP_ALONE: _stop_alone,
    Kind.SCALE: _scale,
    Kind.RECYCLE: _recycle,
    Kind.RELOAD: _reload,
    Kind.RELOAD_WRONG: _reload_wrong,
    Kind.RELOAD_REFUSED: _reload_bad,
    Kind.SUPERVISOR_DIES: lambda world, _: world.kill_supervisor(),
}
