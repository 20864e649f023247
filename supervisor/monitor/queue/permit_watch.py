"""Watches the permits while workers wait for one: ends sessions that hold a permit for no job, and publishes lost permits."""

import math
import time
from dataclasses import replace

from supervisor.event_log import EventLog
from supervisor.monitor.queue.permit_waits import Identity, LostPermit, PermitHolder, SlotWait, as_bits, permit_waits
from supervisor.monitor.state import MonitorState
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import PermitRecord, Scoreboard
from worker.ollama.address import server_name
from worker.queue import host_permits
from worker.queue.connection import AsyncConnection, is_pooled
from worker.queue.permit_sessions import PermitSession, end_session, leasing_workers, permit_sessions
from worker.queue.permits import Permits
from worker.settings import WorkerSettings

SEARCH_EVERY_SECONDS = 1.0
LONG_WAIT_SECONDS = 2.0  # a shorter wait for a permit is ordinary, and no statement searches for its holder
REQUESTED_SECONDS = 5.0  # for which the holders are searched after a request


class PermitWatch:
    """Reads the scoreboard each second, and sends one statement per second while a wait is long or a permit is lost."""

    def __init__(self, settings: WorkerSettings, scoreboard: Scoreboard, state: MonitorState, event_log: EventLog) -> None:
        self._scoreboard, self._state, self._event_log = scoreboard, state, event_log
        self._vision_model = settings.ai_vision_model if settings.may_call("vision") else ""
        self._feedback_model = settings.ai_feedback_model if settings.may_call("feedback") else ""
        server, count = server_name(settings.ollama_base_url), settings.ollama_num_parallel
        self._permits = {model: Permits.of(server, model, count) for model in (self._vision_model, self._feedback_model) if model}
        self._model_of = {permits.key: model for model, permits in self._permits.items()}
        self._waits: dict[int, SlotWait] = {}
        self._overdue: dict[Identity, float] = {}  # holder -> when it was first found without a job
        self._search_at_seconds = self._requested_until_seconds = -math.inf

    def lost_numbers(self, model: str) -> frozenset[int]:
        return frozenset(lost.holder.number for lost in self._state.lost_permits if lost.holder.model == model)

    def request_searches(self) -> None:
        """Search also without a waiting worker, because a model in use keeps the other one from its turn."""
        self._requested_until_seconds = time.monotonic() + REQUESTED_SECONDS

    def due_in_seconds(self) -> float:
        return max(0.0, self._search_at_seconds - time.monotonic()) if self._permits else math.inf

    def connection_lost(self) -> None:
        """Forget what was found. The locks may have ended with the server."""
        self._publish([])

    async def serve(self, connection: AsyncConnection) -> None:
        """Search for the holders, if it is time and there is a reason."""
        now = time.monotonic()
        if not self._permits or now < self._search_at_seconds:
            return
        self._search_at_seconds = now + SEARCH_EVERY_SECONDS
        self._update_waits(now)
        has_long_wait = any(wait.since_seconds <= now - LONG_WAIT_SECONDS for wait in self._waits.values())
        if has_long_wait or self._overdue or now < self._requested_until_seconds:
            self._publish(await self._holders(connection))
        else:
            self._publish([])

    def _update_waits(self, now: float) -> None:
        """Note which slots wait, and keep the start of a wait in the same job."""
        waits = {}
        for slot in range(self._scoreboard.fleet.read().wanted):
            record = self._scoreboard.worker(slot)
            if record and record.activity == Activity.PERMIT and self._scoreboard.ledgers[slot].read().pid:
                known = self._waits.get(slot)
                is_same = known and (known.job_id, known.backend_pid) == (record.job_id, record.backend_pid)
                waits[slot] = known if known and is_same else SlotWait(record.job_id, record.backend_pid, now)
        self._waits = waits

    async def _holders(self, connection: AsyncConnection) -> list[PermitHolder]:
        return await (self._holders_on_host(connection) if is_pooled(connection) else self._holders_in_sessions(connection))

    async def _holders_in_sessions(self, connection: AsyncConnection) -> list[PermitHolder]:
        """Query the server, and end each session that is overdue."""
        sessions = await permit_sessions(connection, list(self._model_of))
        wanted = {session.backend_pid: self._model_of[session.key] for session in sessions if not session.is_granted}
        self._waits = {slot: replace(wait, model=wanted.get(wait.backend_pid, wait.model)) for slot, wait in self._waits.items()}
        for session in sessions:
            if session.is_overdue:
                holder = PermitHolder.of(session, self._model_of[session.key])
                await self._end(connection, session, holder, is_known=holder.identity in self._overdue)
        return [PermitHolder.of(session, self._model_of[session.key]) for session in sessions if session.is_granted]

    async def free_model_lock(
        self, connection: AsyncConnection, key: int, model: str, known: frozenset[PermitHolder]
    ) -> frozenset[PermitHolder]:
        """End the sessions of monitors that hold the model's lock for nothing, and return them. `known` were found before."""
        overdue = [session for session in await permit_sessions(connection, [key]) if session.is_overdue]
        identities = {holder.identity for holder in known}
        for session in overdue:
            holder = PermitHolder.of(session, model)
            await self._end(connection, session, holder, is_known=holder.identity in identities)
        return frozenset(PermitHolder.of(session, model) for session in overdue)

    async def _end(self, connection: AsyncConnection, session: PermitSession, holder: PermitHolder, *, is_known: bool) -> None:
        if not is_known:
            self._event_log.permit_overdue(
                model=holder.model, permit=holder.number, holder=holder.name, address=holder.address,
                backend=holder.backend_pid, is_ended=session.may_end,
            )  # fmt: skip
        if session.may_end:
            await end_session(connection, session)

    async def _holders_on_host(self, connection: AsyncConnection) -> list[PermitHolder]:
        """Query each permit's socket, also those that replace lost ones, and then the leases of their workers."""
        found = []
        for model, permits in self._permits.items():
            usable = replace(permits, lost=self.lost_numbers(model))
            pids = {number: host_permits.holder_pid(permits.key, number) for number in range(1, usable.reach + 1)}
            found += [(model, number, pid) for number, pid in pids.items() if pid]
            if all(pids[number] for number in usable.numbers):
                self._assume_waits_for(model)
        leasing = await leasing_workers(connection) if found else frozenset()
        return [self._holder_on_host(*each, leasing) for each in found]

    def _holder_on_host(self, model: str, number: int, pid: int, leasing: frozenset[str]) -> PermitHolder:
        """A process whose name is not a worker's is another program, or a worker of an older version, and its use is unknown."""
        worker = host_permits.worker_of(pid)
        has_lease = worker is None or worker in leasing
        return PermitHolder.of_host(pid, model, number, is_alive=host_permits.is_alive(pid), has_lease=has_lease)

    def _assume_waits_for(self, model: str) -> None:
        """Count every slot that waits for each model whose permits are all held, because a socket shows no waiting process."""
        self._waits = {slot: replace(wait, model=wait.model or model) for slot, wait in self._waits.items()}

    def _publish(self, holders: list[PermitHolder]) -> None:
        """Write what was found into the monitor's state, and lost permits into the scoreboard.

        A permit is lost if its holder was overdue at the search before too, so that a session that ends at once costs nothing.
        """
        now, known = time.monotonic(), self._overdue
        lost = tuple(LostPermit(each, known[each.identity]) for each in holders if each.is_overdue and each.identity in known)
        self._overdue = {each.identity: known.get(each.identity, now) for each in holders if each.is_overdue}
        self._state.lost_permits = lost
        self._state.permit_waits = permit_waits(self._waits, holders, now - LONG_WAIT_SECONDS)
        record = PermitRecord(as_bits(lost, self._vision_model), as_bits(lost, self._feedback_model))
        if record != self._scoreboard.permits.read():
            self._scoreboard.permits.write(record)
