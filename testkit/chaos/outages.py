"""Outages of the servers and of the storage, and locks in the database. At most one at a time on each server of a host."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, LiteralString, TypeVar
from uuid import UUID

import psycopg

from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.fleet import Fleet
from testkit.chaos.plan import Fault, Kind, PlannedSubmission
from testkit.chaos.scheduler import Scheduler
from testkit.host_names import DATABASE, MODEL_SERVER
from testkit.outages.http_proxy import HttpProxy
from testkit.outages.matrix import WAYS, Request, Way
from testkit.site import FEEDBACK_MODEL

LOCK_WAIT_MILLISECONDS: Final = 500  # a lock that is not granted by then is left out
RUNNER_DEATHS: Final = 40  # more than any number of tries of one submission
LISTS: Final = (Request.TAGS, Request.PS)
MODELS: Final = (Request.VISION, Request.FEEDBACK)
NAMES: Final = (MODEL_SERVER, DATABASE)
OPEN: Final[LiteralString] = """
    select id from learning_submissions
    where analysis_status in ('pending', 'extracted') and id not in (select submission_id from refusals) order by id
"""
LOCK_ROW: Final[LiteralString] = "select from learning_submissions where id = %s for update"
HONEST_WAYS: Final = tuple(way for way in WAYS[Request.STORE] if way is not Way.PAGE)
"""Without a page in place of the file, whose checksum is wrong as that of a damaged file is."""
T = TypeVar("T")
LOCK_TABLE: Final[LiteralString] = "lock table learning_submission_jobs in access exclusive mode"


@dataclass(slots=True)
class Outages:
    """`runner_killers` are the numbers of the submissions whose text kills the model's runner."""

    environment: ChaosEnvironment
    scheduler: Scheduler
    runner_killers: set[int] = field(default_factory=set)
    _busy: set[object] = field(default_factory=set)

    def begin(self, fault: Fault, fleet: Fleet) -> str | None:
        """Begin an outage and schedule its end. Return its details, None if the same part already fails."""
        match fault.kind:
            case Kind.STORE_AWAY:
                return self._store(fault, fleet)
            case Kind.NO_NAMES:
                return self._names(fault, fleet)
            case Kind.MODEL_SERVER_AWAY:
                return self._proxy(fault, fleet.model_server, Request.MODEL_SERVER, Way.REFUSED)
            case Kind.MODEL_LIST_FAILS:
                request = LISTS[fault.number % len(LISTS)]
                return self._proxy(fault, fleet.model_server, request, _one_of(WAYS[request], fault))
            case Kind.MODEL_MISSING:
                return self._proxy(fault, fleet.model_server, MODELS[fault.number % len(MODELS)], Way.STATUS_404)
            case Kind.LOCK_SUBMISSION:
                return self._lock_submission(fault)
            case Kind.LOCK_TABLE:
                return self._lock(LOCK_TABLE, [], fault)
        raise ValueError(f"{fault.kind} is no outage")

    # Servers and files

    def _store(self, fault: Fault, fleet: Fleet) -> str | None:
        """The last fleet has an object store. The others have a link to the directory of the files, which is removed."""
        if fleet.store is not None:
            return self._proxy(fault, fleet.store, Request.STORE, _one_of(HONEST_WAYS, fault))
        if fleet.root in self._busy or not fleet.root.is_symlink():
            return None
        fleet.root.unlink()
        self._until(fault, fleet.root, partial(fleet.root.symlink_to, self.environment.storage_root))
        return f"no directory, {fault.seconds:.1f} s"

    def _proxy(self, fault: Fault, proxy: HttpProxy, request: Request, way: Way) -> str | None:
        if proxy.port in self._busy:
            return None
        proxy.begin(request, way)
        self._until(fault, proxy.port, proxy.end)
        return f"{request.word} {way.word}, {fault.seconds:.1f} s"

    def _names(self, fault: Fault, fleet: Fleet) -> str | None:
        """Let one name have no address, and give the host a reason to look it up."""
        if fleet.names is None or fleet.names.is_hanging or not fleet.monitors():
            return None
        name = NAMES[fault.number % len(NAMES)]
        fleet.names.forget(name)
        if name == DATABASE:
            fleet.proxy.send("cut")
        self.scheduler.after(fault.seconds, fleet.names.heal)
        return f"{name}, {fault.seconds:.1f} s"

    # The database

    def _lock_submission(self, fault: Fault) -> str | None:
        if found := self._open():
            return self._lock(LOCK_ROW, [_one_of(found, fault)], fault)
        return None

    def _lock(self, statement: LiteralString, values: list[UUID], fault: Fault) -> str | None:
        """Hold a lock in a session of its own. One at a time, because two sessions could wait for each other."""
        if "lock" in self._busy:
            return None
        try:
            with ExitStack() as undo:
                holder = undo.enter_context(psycopg.connect(self.environment.database.admin_dsn))
                holder.execute(f"set lock_timeout = {LOCK_WAIT_MILLISECONDS}")
                holder.execute(statement, values)
                end = undo.pop_all()
        except psycopg.OperationalError:
            return None
        self._until(fault, "lock", partial(_end, end))
        return f"{values[0] if values else 'the queue'}, {fault.seconds:.1f} s"

    # A submission that kills the runner

    def kill_runner(self, typed: Sequence[tuple[PlannedSubmission, str]]) -> str | None:
        """Let each call with the next typed text kill the model's runner, with all calls that it has then.

        `typed` are the plan's submissions with a typed text. The next one is not entered yet, so no call to it is running.
        """
        later = (each for each in typed if each[0].at_seconds > self.scheduler.now and each[0].number not in self.runner_killers)
        planned, text = next(later, (None, ""))
        if planned is None:
            return None
        self.environment.simulator.fault("kill_runner", FEEDBACK_MODEL, RUNNER_DEATHS, containing=text)
        self.runner_killers.add(planned.number)
        return f"submission {planned.number}"

    def _open(self) -> list[UUID]:
        with suppress(psycopg.OperationalError), self.environment.connected() as owner:
            return [each for (each,) in owner.execute(OPEN)]
        return []

    def _until(self, fault: Fault, part: object, end: Callable[[], object]) -> None:
        self._busy.add(part)
        self.scheduler.after(fault.seconds, partial(self._finish, part, end))

    def _finish(self, part: object, end: Callable[[], object]) -> None:
        end()
        self._busy.discard(part)


def _one_of(found: Sequence[T], fault: Fault) -> T:
    return found[fault.number % len(found)]


def _end(undo: ExitStack) -> None:
    with suppress(psycopg.Error):
        undo.close()
