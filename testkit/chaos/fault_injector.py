"""Inject each kind of fault. The end of a fault is added to the scheduler."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, LiteralString

import psycopg

from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.fleet import Child, Fleet
from testkit.chaos.helper_leaver import HelperLeaver
from testkit.chaos.outages import Outages
from testkit.chaos.plan import LONG, MOST_WORKERS, Fault, Kind, PlannedSubmission
from testkit.chaos.refused_rows import RefusedRows
from testkit.chaos.repeat_killer import RepeatKiller
from testkit.chaos.run_record import InjectedFault, pid_in
from testkit.chaos.scheduler import Scheduler
from testkit.chaos.stopped_backends import StoppedBackends
from testkit.host_names import DATABASE, MODEL_SERVER
from testkit.ollama_simulator.fault import FaultKind

HOST_NAMES: Final = (DATABASE, MODEL_SERVER)
MODELS: Final = ("qwen2.5vl:3b", "gpt-oss:latest", None)
MOST_REQUESTS: Final = 3  # affected by one model fault
MOST_ANSWERS: Final = 8  # lost by one fault
CORRECT_AGAIN_SECONDS: Final = 1.0
CONNECTIONS: Final[LiteralString] = """
    select pid, application_name from pg_stat_activity
    where datname = current_database() and usename <> current_user order by pid
"""
CONCERNS_ALL: Final = frozenset(
    {
        Kind.RESTART_SERVER,
        Kind.CRASH_SERVER,
        Kind.CUT_ONE,
        Kind.CUT_ALL,
        Kind.STOP_BACKEND,
        Kind.REFUSE_ROW,
        Kind.MODEL_FAULT,
        Kind.KILL_REPEATEDLY,
        Kind.KILL_RUNNER,
        Kind.LOCK_SUBMISSION,
        Kind.LOCK_TABLE,
    }
)
"""Faults that are not aimed at one host."""
LASTS: Final = LONG | {
    Kind.FREEZE_WORKER,
    Kind.FREEZE_HOST,
    Kind.STALL_LINK,
    Kind.LOCK_TABLE,
    Kind.RESTART_SERVER,
    Kind.CRASH_SERVER,
    Kind.CUT_ALL,
}
Injection = tuple[frozenset[int] | None, str] | None
"""The affected workers (None: all) and details. None instead of the tuple if there was no victim."""
LATER: Final = frozenset[int](), ""
"""The fault is recorded by itself when it takes place."""


@dataclass(slots=True)
class FaultInjector:
    """`injected` are the faults that took place. A fault without a victim is counted in `missed`.

    A fault that this system does not allow is counted in `not_possible`. `typed` are the plan's
    submissions with a typed text.
    """

    environment: ChaosEnvironment
    scheduler: Scheduler
    typed: Sequence[tuple[PlannedSubmission, str]]
    injected: list[InjectedFault] = field(default_factory=list)
    missed: int = 0
    not_possible: Counter[Kind] = field(default_factory=Counter)
    is_halted: bool = False
    rows: RefusedRows = field(init=False)
    backends: StoppedBackends = field(init=False)
    outages: Outages = field(init=False)
    _frozen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rows = RefusedRows(self.environment, self.scheduler)
        self.backends = StoppedBackends(self.environment, self.scheduler)
        self.outages = Outages(self.environment, self.scheduler)

    def play(self, fault: Fault) -> None:
        if fault.kind in self.environment.not_possible:
            self.not_possible[fault.kind] += 1
            return
        at, fleet = time.time(), self.environment.fleets[fault.fleet]
        injection = INJECTIONS[fault.kind](self, fault, fleet)
        if injection is None:
            self.missed += 1
        elif injection is not LATER:
            every = self.environment.fleets if fault.kind in CONCERNS_ALL else (fleet,)
            hosts = frozenset(each.home.name for each in every)
            until = at + fault.seconds if fault.kind in LASTS else at
            self.injected.append(InjectedFault(at, fault.kind, *injection, hosts, until))

    # Processes

    def hit_a_worker(self, fault: Fault, fleet: Fleet) -> Injection:
        return self._hit(_one_of(fleet.workers(), fault), fault)

    def hit_the_monitor(self, fault: Fault, fleet: Fleet) -> Injection:
        return self._hit(_one_of(fleet.monitors(), fault), fault)

    def hit_the_supervisor(self, fault: Fault, fleet: Fleet) -> Injection:
        """Signal the supervisor. Its workers end with it, unless it is only frozen.

        It is not frozen without workers, because nothing else could start one, and no work would be possible on this host.
        """
        workers = _pids(fleet.workers())
        if fault.kind is Kind.FREEZE_SUPERVISOR and not workers:
            return None
        injection = self._hit(fleet.supervisor(), fault)
        return (workers, injection[1]) if injection else None

    def hit_all(self, fault: Fault, fleet: Fleet) -> Injection:
        return self._hit([*fleet.supervisor(), *fleet.monitors(), *fleet.workers()], fault)

    def kill_repeatedly(self, fault: Fault, _fleet: Fleet) -> Injection:
        pids = RepeatKiller(self.environment, self.scheduler, self.injected).begin(fault.number)
        return (pids, f"pid {min(pids)}") if pids else None

    def _hit(self, victims: list[Child], fault: Fault) -> Injection:
        """Signal the victims. One that is frozen already is not frozen for longer, so that no freeze exceeds its bound."""
        if is_freeze := _SIGNALS[fault.kind] is signal.SIGSTOP:
            victims = [victim for victim in victims if victim.pid not in self._frozen]
        _signal_all(victims, _SIGNALS[fault.kind])
        pids = _pids(victims)
        if is_freeze:
            self._frozen |= pids
            self.scheduler.after(fault.seconds, partial(self._thaw, victims))
        return (pids, f"pids {sorted(pids)}") if victims else None

    def _thaw(self, victims: list[Child]) -> None:
        _signal_all(victims, signal.SIGCONT)
        self._frozen -= {victim.pid for victim in victims}

    # The database server

    def halt_the_server(self, fault: Fault, _fleet: Fleet) -> Injection:
        if self.is_halted:
            return None
        self.backends.continue_all()  # a stopped process would delay the end of the server
        self.environment.cluster.halt(signal.SIGQUIT if fault.kind is Kind.CRASH_SERVER else signal.SIGINT)
        self.is_halted = True
        self.scheduler.after(fault.seconds, self._resume_server)
        return None, f"{fault.seconds:.1f} s"

    def _resume_server(self) -> None:
        self.environment.cluster.resume()
        self.is_halted = False

    def stop_a_backend(self, fault: Fault, _fleet: Fleet) -> Injection:
        return self.backends.stop(fault.number, fault.seconds)

    def refuse_a_row(self, fault: Fault, _fleet: Fleet) -> Injection:
        detail = self.rows.refuse(fault.number, fault.seconds)
        return (frozenset(), detail) if detail else None

    def cut_connections(self, fault: Fault, _fleet: Fleet) -> Injection:
        """Cut one connection, or all of them now and in each second of the fault."""
        cut = self._terminate(fault.number if fault.kind is Kind.CUT_ONE else None)
        if fault.kind is Kind.CUT_ALL:
            for second in range(1, int(fault.seconds) + 1):
                self.scheduler.after(second, self._cut_all)
        pids = {pid for name in cut if (pid := pid_in(name)) is not None}
        return (frozenset(pids), f"{len(cut)} connections") if cut else None

    def _cut_all(self) -> None:
        self._terminate(None)

    def _terminate(self, number: int | None) -> list[str]:
        """Terminate one or all backends and return their application names."""
        with suppress(psycopg.OperationalError), self.environment.connected() as owner:
            found = owner.execute(CONNECTIONS).fetchall()
            chosen = found if number is None else [found[number % len(found)]] if found else []
            for pid, _ in chosen:
                owner.execute("select pg_terminate_backend(%s)", [pid])
            return [name for _, name in chosen]
        return []

    # The network

    def disturb_the_network(self, fault: Fault, fleet: Fleet) -> Injection:
        match fault.kind:
            case Kind.CUT_LINK:
                command = "cut"
            case Kind.LOSE_ANSWERS:
                command = f"lose {1 + fault.number % MOST_ANSWERS}"
            case _:
                command = f"stall {fault.seconds:.1f}"
        fleet.proxy.send(command)
        return _pids(fleet.workers()), command

    def silence_host(self, fault: Fault, fleet: Fleet) -> Injection:
        """Drop all packets. Afterwards the host's connections are alive again, or they stay silent and only new ones work."""
        link, is_healed = self.environment.links[fault.fleet], fault.number % 2 == 0
        if link.is_silent:
            return None
        link.silence()
        self.scheduler.after(fault.seconds, link.heal if is_healed else link.move)
        workers = _pids(fleet.workers())
        return workers, f"{fault.seconds:.1f} s, then {'healed' if is_healed else 'another address'}"

    def hang_names(self, fault: Fault, fleet: Fleet) -> Injection:
        """Let the lookups of one name wait, and give the host a reason to look it up: lost connections or new workers."""
        if fleet.names is None or fleet.names.is_hanging or not fleet.monitors():
            return None
        name = HOST_NAMES[fault.number % len(HOST_NAMES)]
        fleet.names.hang(name)
        if name == DATABASE:
            fleet.proxy.send("cut")
        else:
            fleet.command("recycle")
        self.scheduler.after(fault.seconds, fleet.names.heal)
        return _pids(fleet.workers()) if name == DATABASE else frozenset(), f"{name}, {fault.seconds:.1f} s"

    def leave_a_helper(self, fault: Fault, _fleet: Fleet) -> Injection:
        """Only the last fleet has the adapter."""
        fleet = self.environment.fleets[-1]
        if not fleet.workers():
            return None
        HelperLeaver(fleet, self.scheduler, self.injected).begin(fault.number)
        return LATER

    # Outages

    def begin_outage(self, fault: Fault, fleet: Fleet) -> Injection:
        detail = self.outages.begin(fault, fleet)
        return (frozenset(), detail) if detail else None

    def kill_runner(self, _fault: Fault, _fleet: Fleet) -> Injection:
        detail = self.outages.kill_runner(self.typed)
        return (frozenset(), detail) if detail else None

    # The model server

    def set_model_fault(self, fault: Fault, _fleet: Fleet) -> Injection:
        model = MODELS[fault.number % len(MODELS)]
        times = 1 + fault.number % MOST_REQUESTS
        self.environment.simulator.fault(fault.model_fault, model, times)
        if fault.model_fault is FaultKind.WEDGE:
            self.scheduler.after(fault.seconds, self.environment.simulator.clear_faults)
        return frozenset(), f"{fault.model_fault} × {times}"

    # Commands

    def send_command(self, fault: Fault, fleet: Fleet) -> Injection:
        supervisor = fleet.supervisor() if fleet.monitors() else []  # systemd does not reload a unit that is still starting
        if not supervisor:
            return None
        match fault.kind:
            case Kind.SCALE:
                fleet.command("scale", str(1 + fault.number % MOST_WORKERS))
            case Kind.RECYCLE:
                fleet.command("recycle")
            case Kind.RELOAD:
                fleet.write_settings(WORKER_POLL_INTERVAL=f"{0.2 + fault.number / 100}")
                supervisor[0].signal(signal.SIGHUP)
            case _:
                fleet.write_settings(WORKER_POLL_INTERVAL="never")
                supervisor[0].signal(signal.SIGHUP)
                self.scheduler.after(CORRECT_AGAIN_SECONDS, fleet.write_settings)
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


def _pids(children: Iterable[Child]) -> frozenset[int]:
    return frozenset(child.pid for child in children)


def _one_of(there: list[Child], fault: Fault) -> list[Child]:
    return [there[fault.number % len(there)]] if there else []


INJECTIONS: Final[dict[Kind, Callable[[FaultInjector, Fault, Fleet], Injection]]] = {
    Kind.KILL_WORKER: FaultInjector.hit_a_worker,
    Kind.KILL_REPEATEDLY: FaultInjector.kill_repeatedly,
    Kind.TERMINATE_WORKER: FaultInjector.hit_a_worker,
    Kind.FREEZE_WORKER: FaultInjector.hit_a_worker,
    Kind.KILL_MONITOR: FaultInjector.hit_the_monitor,
    Kind.TERMINATE_MONITOR: FaultInjector.hit_the_monitor,
    Kind.FREEZE_MONITOR: FaultInjector.hit_the_monitor,
    Kind.KILL_SUPERVISOR: FaultInjector.hit_the_supervisor,
    Kind.TERMINATE_SUPERVISOR: FaultInjector.hit_the_supervisor,
    Kind.FREEZE_SUPERVISOR: FaultInjector.hit_the_supervisor,
    Kind.FREEZE_HOST: FaultInjector.hit_all,
    Kind.SILENCE_HOST: FaultInjector.silence_host,
    Kind.STOP_BACKEND: FaultInjector.stop_a_backend,
    Kind.LEAVE_HELPER: FaultInjector.leave_a_helper,
    Kind.REFUSE_ROW: FaultInjector.refuse_a_row,
    Kind.HANG_NAMES: FaultInjector.hang_names,
    Kind.NO_NAMES: FaultInjector.begin_outage,
    Kind.STORE_AWAY: FaultInjector.begin_outage,
    Kind.LOCK_SUBMISSION: FaultInjector.begin_outage,
    Kind.LOCK_TABLE: FaultInjector.begin_outage,
    Kind.MODEL_SERVER_AWAY: FaultInjector.begin_outage,
    Kind.MODEL_LIST_FAILS: FaultInjector.begin_outage,
    Kind.MODEL_MISSING: FaultInjector.begin_outage,
    Kind.KILL_RUNNER: FaultInjector.kill_runner,
    Kind.RESTART_SERVER: FaultInjector.halt_the_server,
    Kind.CRASH_SERVER: FaultInjector.halt_the_server,
    Kind.CUT_ONE: FaultInjector.cut_connections,
    Kind.CUT_ALL: FaultInjector.cut_connections,
    Kind.CUT_LINK: FaultInjector.disturb_the_network,
    Kind.LOSE_ANSWERS: FaultInjector.disturb_the_network,
    Kind.STALL_LINK: FaultInjector.disturb_the_network,
    Kind.MODEL_FAULT: FaultInjector.set_model_fault,
    Kind.RELOAD: FaultInjector.send_command,
    Kind.RELOAD_WRONG: FaultInjector.send_command,
    Kind.SCALE: FaultInjector.send_command,
    Kind.RECYCLE: FaultInjector.send_command,
}
