"""How each kind of fault comes about. What ends later by itself is put on the agenda."""

import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, LiteralString

import psycopg

from testkit.chaos.agenda import Agenda
from testkit.chaos.evidence import Hit, pid_in
from testkit.chaos.fleet import Child, Fleet
from testkit.chaos.hunt import Hunt
from testkit.chaos.plan import MOST_WORKERS, Fault, Kind
from testkit.chaos.stage import ChaosEnvironment
from testkit.ollama_simulator.fault import FaultKind

MODELS: Final = ("qwen2.5vl:3b", "gpt-oss:latest", None)
MOST_REQUESTS: Final = 3  # that one order spoils
MOST_ANSWERS: Final = 8  # that one order loses
CORRECT_AGAIN_SECONDS: Final = 1.0
CONNECTIONS: Final[LiteralString] = """
    select pid, application_name from pg_stat_activity
    where datname = current_database() and usename <> current_user order by pid
"""
Came = tuple[frozenset[int] | None, str] | None
"""The workers that were hit (None: all), and what else there is to say; None where nobody was there to be hit."""


@dataclass(slots=True)
class Strikes:
    """`hits` is what came of the plan; a fault that finds nobody to hit is counted in `missed`."""

    stage: ChaosEnvironment
    agenda: Agenda
    hits: list[Hit] = field(default_factory=list)
    missed: int = 0
    is_halted: bool = False

    def play(self, fault: Fault) -> None:
        at = time.time()
        came = STRIKES[fault.kind](self, fault, self.stage.fleets[fault.fleet])
        if came is None:
            self.missed += 1
        else:
            self.hits.append(Hit(at, fault.kind, *came))

    # Processes

    def hit_a_worker(self, fault: Fault, fleet: Fleet) -> Came:
        return self._hit(_one_of(fleet.workers(), fault), fault)

    def hit_the_monitor(self, fault: Fault, fleet: Fleet) -> Came:
        return self._hit(_one_of(fleet.monitors(), fault), fault)

    def hit_the_supervisor(self, fault: Fault, fleet: Fleet) -> Came:
        """Its workers go with it, unless it only stands still."""
        workers = frozenset(worker.pid for worker in fleet.workers())
        came = self._hit(fleet.supervisor(), fault)
        return (workers, came[1]) if came else None

    def hit_all(self, fault: Fault, fleet: Fleet) -> Came:
        return self._hit([*fleet.supervisor(), *fleet.monitors(), *fleet.workers()], fault)

    def hunt_a_job(self, fault: Fault, _fleet: Fleet) -> Came:
        pids = Hunt(self.stage, self.agenda, self.hits).begin(fault.number)
        return (pids, f"pid {min(pids)}") if pids else None

    def _hit(self, victims: list[Child], fault: Fault) -> Came:
        _signal_all(victims, _SIGNALS[fault.kind])
        if _SIGNALS[fault.kind] is signal.SIGSTOP:
            self.agenda.after(fault.seconds, partial(_signal_all, victims, signal.SIGCONT))
        pids = frozenset(victim.pid for victim in victims)
        return (pids, f"pids {sorted(pids)}") if victims else None

    # The database server

    def halt_the_server(self, fault: Fault, _fleet: Fleet) -> Came:
        if self.is_halted:
            return None
        self.stage.cluster.halt(signal.SIGQUIT if fault.kind is Kind.CRASH_SERVER else signal.SIGINT)
        self.is_halted = True
        self.agenda.after(fault.seconds, self._resume_server)
        return None, f"{fault.seconds:.1f} s"

    def _resume_server(self) -> None:
        self.stage.cluster.resume()
        self.is_halted = False

    def cut_connections(self, fault: Fault, _fleet: Fleet) -> Came:
        """One connection, or all of them now and at each second of the time that it lasts."""
        cut = self._terminate(fault.number if fault.kind is Kind.CUT_ONE else None)
        if fault.kind is Kind.CUT_ALL:
            for second in range(1, int(fault.seconds) + 1):
                self.agenda.after(second, self._cut_all)
        pids = {pid for name in cut if (pid := pid_in(name)) is not None}
        return (frozenset(pids), f"{len(cut)} connections") if cut else None

    def _cut_all(self) -> None:
        self._terminate(None)

    def _terminate(self, number: int | None) -> list[str]:
        """The names of those who were connected."""
        with suppress(psycopg.OperationalError), self.stage.connected() as owner:
            found = owner.execute(CONNECTIONS).fetchall()
            chosen = found if number is None else [found[number % len(found)]] if found else []
            for pid, _ in chosen:
                owner.execute("select pg_terminate_backend(%s)", [pid])
            return [name for _, name in chosen]
        return []

    # The network

    def trouble_the_link(self, fault: Fault, fleet: Fleet) -> Came:
        match fault.kind:
            case Kind.CUT_LINK:
                order = "cut"
            case Kind.LOSE_ANSWERS:
                order = f"lose {1 + fault.number % MOST_ANSWERS}"
            case _:
                order = f"stall {fault.seconds:.1f}"
        fleet.gateway.order(order)
        return frozenset(worker.pid for worker in fleet.workers()), order

    # The model server

    def spoil_answers(self, fault: Fault, _fleet: Fleet) -> Came:
        model = MODELS[fault.number % len(MODELS)]
        times = 1 + fault.number % MOST_REQUESTS
        self.stage.simulator.fault(fault.model_fault, model, times)
        if fault.model_fault is FaultKind.WEDGE:
            self.agenda.after(fault.seconds, self.stage.simulator.clear_faults)
        return frozenset(), f"{fault.model_fault} × {times}"

    # Orders

    def order(self, fault: Fault, fleet: Fleet) -> Came:
        supervisor = fleet.supervisor() if fleet.monitors() else []  # systemd reloads nothing that is still starting
        if not supervisor:
            return None
        match fault.kind:
            case Kind.SCALE:
                fleet.order("scale", str(1 + fault.number % MOST_WORKERS))
            case Kind.RECYCLE:
                fleet.order("recycle")
            case Kind.RELOAD:
                fleet.write_settings(WORKER_POLL_INTERVAL=f"{0.2 + fault.number / 100}")
                supervisor[0].signal(signal.SIGHUP)
            case _:
                fleet.write_settings(WORKER_POLL_INTERVAL="never")
                supervisor[0].signal(signal.SIGHUP)
                self.agenda.after(CORRECT_AGAIN_SECONDS, fleet.write_settings)
        return frozenset(), ""


_SIGNALS: Final = {
    Kind.KILL_WORKER: signal.SIGKILL,
    Kind.TERMINATE_WORKER: signal.SIGTERM,
    Kind.FREEZE_WORKER: signal.SIGSTOP,
    Kind.KILL_MONITOR: signal.SIGKILL,
    Kind.TERMINATE_MONITOR: signal.SIGTERM,
    Kind.FREEZE_MONITOR: signal.SIGSTOP,
    Kind.KILL_SUPERVISOR: signal.SIGKILL,
    Kind.TERMINATE_SUPERVISOR: signal.SIGTERM,
    Kind.FREEZE_SUPERVISOR: signal.SIGSTOP,
    Kind.FREEZE_HOST: signal.SIGSTOP,
}


def _signal_all(victims: Iterable[Child], number: signal.Signals) -> None:
    for victim in victims:
        victim.signal(number)


def _one_of(there: list[Child], fault: Fault) -> list[Child]:
    return [there[fault.number % len(there)]] if there else []


STRIKES: Final[dict[Kind, Callable[[Strikes, Fault, Fleet], Came]]] = {
    Kind.KILL_WORKER: Strikes.hit_a_worker,
    Kind.HUNT_JOB: Strikes.hunt_a_job,
    Kind.TERMINATE_WORKER: Strikes.hit_a_worker,
    Kind.FREEZE_WORKER: Strikes.hit_a_worker,
    Kind.KILL_MONITOR: Strikes.hit_the_monitor,
    Kind.TERMINATE_MONITOR: Strikes.hit_the_monitor,
    Kind.FREEZE_MONITOR: Strikes.hit_the_monitor,
    Kind.KILL_SUPERVISOR: Strikes.hit_the_supervisor,
    Kind.TERMINATE_SUPERVISOR: Strikes.hit_the_supervisor,
    Kind.FREEZE_SUPERVISOR: Strikes.hit_the_supervisor,
    Kind.FREEZE_HOST: Strikes.hit_all,
    Kind.RESTART_SERVER: Strikes.halt_the_server,
    Kind.CRASH_SERVER: Strikes.halt_the_server,
    Kind.CUT_ONE: Strikes.cut_connections,
    Kind.CUT_ALL: Strikes.cut_connections,
    Kind.CUT_LINK: Strikes.trouble_the_link,
    Kind.LOSE_ANSWERS: Strikes.trouble_the_link,
    Kind.STALL_LINK: Strikes.trouble_the_link,
    Kind.MODEL_FAULT: Strikes.spoil_answers,
    Kind.RELOAD: Strikes.order,
    Kind.RELOAD_WRONG: Strikes.order,
    Kind.SCALE: Strikes.order,
    Kind.RECYCLE: Strikes.order,
}
