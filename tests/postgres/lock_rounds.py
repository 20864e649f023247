"""Rounds in which one session takes locks and gives them back, while others get in its way at random moments.

After each round the server's list of the session's advisory locks is compared with the permit that the session's owner knows of.
"""

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg import errors

from testkit.filled_queue import FilledQueue, owner_connection, worker_connection
from testkit.waiting import until
from worker.core.outcome import Lease, Lost, Released
from worker.queue.checkpoints import OcrResult, write_checkpoint
from worker.queue.connection import Connection
from worker.queue.leases import LeaseRequest
from worker.queue.permits import HeldPermit, Permits, begin_step, give_back, wait_for_permit
from worker.queue.settle import settle, settle_and_lease

LEASE_SECONDS = 600.0
LONGEST_WAIT_SECONDS = 0.006
JITTER_SECONDS = 0.0008  # around the instant at which a wait ends
MOMENTS = ["release"] * 12 + ["cancel"] * 3 + ["row lock"] * 2 + ["deadlock", "terminate", "cut", "nothing", "nothing"]
ROW_LOCKS = {"row lock", "deadlock"}
LOCKS_OF: LiteralString = "select objid::int as number from pg_locks where locktype = 'advisory' and granted and pid = %s"
REFUSE_AT_COMMIT: LiteralString = """
    create or replace function refuse_row() returns trigger language plpgsql as
        $$ begin if new.payload ? 'refused' then raise exception 'refused'; end if; return null; end $$;
    drop trigger if exists refuse_row on learning_submission_jobs;
    create constraint trigger refuse_row after update on learning_submission_jobs deferrable initially deferred
        for each row execute function refuse_row()
"""
SET_JOB: LiteralString = """
    update learning_submission_jobs set status = 'leased', lease_key = %(lease_key)s, visible_at = now(),
        leased_until = now() + interval '1 hour',
        payload = case when %(is_refused)s then payload || '{"refused": true}' else payload - 'refused' end
    where id = %(job_id)s
"""


class UnknownLock(AssertionError):
    """The server's list of a session's locks differs from the permit that its owner knows of."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An act of another session and the time at which it happens, counted from the start of the round."""

    name: str
    after_seconds: float


class LockRounds:
    """One session under test, with one job that it leases again and again, and the sessions that get in its way."""

    def __init__(self, queue: FilledQueue, seed: int) -> None:
        self._queue, self._random = queue, random.Random(seed)
        self._permits = Permits.of("http://127.0.0.1:11434", f"model-{uuid4()}", 1)
        self._other, self._hand = owner_connection(queue.database), owner_connection(queue.database)
        self._setter = owner_connection(queue.database)
        self._setter.execute("set session_replication_role = replica")  # no trigger refuses this session
        self._threads = ThreadPoolExecutor(1)
        self._connection = self._connect()
        self._held: HeldPermit | None = None
        job = queue.enter()
        self._lease = Lease(job.job_id, job.submission_id, uuid4(), {}, 0)
        self.seen = Counter[tuple[str, str, str]]()  # operation, moment, ending

    def close(self) -> None:
        self._threads.shutdown()
        for connection in (self._connection, self._other, self._hand, self._setter):
            connection.close()

    def run(self, rounds: int) -> None:
        for number in range(1, rounds + 1):
            self._round(number)

    def endings(self) -> set[str]:
        """Return how operations ended: with a permit, without, or with the class of an error."""
        return {ending for _, _, ending in self.seen}

    # One round

    def _round(self, number: int) -> None:
        if self._connection.closed:
            self._connection, self._held = self._connect(), None
        self._lease_again(is_refused=self._random.random() < 0.1)
        wait_seconds = self._random.randint(1, int(LONGEST_WAIT_SECONDS * 1000)) / 1000
        name, operation = self._operation(wait_seconds)
        moment = self._moment(wait_seconds)
        if self._held is None and moment.name != "nothing":
            self._other.execute("select pg_advisory_lock(%s::int, 1)", [self._permits.key])
        pid = self._connection.info.backend_pid
        acting = self._threads.submit(self._act, moment, pid, time.monotonic())
        ending = self._perform(operation)
        acting.result()
        self.seen[name, moment.name, ending] += 1
        self._compare(pid, f"round {number}: {name}, {moment.name}, {ending}")

    def _operation(self, wait_seconds: float) -> tuple[str, Callable[[], object]]:
        """Choose what the session does: to take a permit while it holds none, to give back otherwise."""
        connection, lease, held = self._connection, self._lease, self._held
        request = LeaseRequest(lease.lease_key, LEASE_SECONDS, permits=self._permits)

        def next_permit() -> HeldPermit | None:
            return settle_and_lease(connection, lease, Released("drain"), held, request).next_permit

        take: dict[str, Callable[[], object]] = {
            "wait": lambda: wait_for_permit(connection, self._permits, 1, wait_seconds),
            "begin": lambda: begin_step(connection, lease, LEASE_SECONDS, self._permits).permit,
            "settle and lease": next_permit,
        }
        release: dict[str, Callable[[], object]] = {
            "give back": lambda: give_back(connection, held),
            "settle": lambda: settle(connection, lease, Released("drain"), held),
            "settle lost": lambda: settle(connection, lease, Lost(), held),
            "checkpoint": lambda: write_checkpoint(connection, lease, OcrResult("text", {}, "origin"), LEASE_SECONDS, held),
            "settle and lease": next_permit,
        }
        choices = take | {"wait ": take["wait"], "wait  ": take["wait"]} if held is None else release
        name = self._random.choice(list(choices))
        return name.strip(), choices[name]

    def _moment(self, wait_seconds: float) -> Moment:
        name = self._random.choice(MOMENTS)
        if name in ("release", "cancel") and self._random.random() < 0.7:
            return Moment(name, wait_seconds + self._random.uniform(-JITTER_SECONDS, JITTER_SECONDS))
        return Moment(name, self._random.uniform(0, wait_seconds))

    def _perform(self, operation: Callable[[], object]) -> str:
        """Run the operation. After an error no permit is known, as in a worker."""
        try:
            result = operation()
        except psycopg.Error as error:
            self._held = None
            return type(error).__name__
        self._held = result if isinstance(result, HeldPermit) else None
        return "permit" if self._held else "no permit"

    def _lease_again(self, *, is_refused: bool) -> None:
        """Give the job to the session, whatever the last round made of it, and decide whether the database refuses its row."""
        values = {"lease_key": self._lease.lease_key, "job_id": self._lease.job_id, "is_refused": is_refused}
        self._setter.execute(SET_JOB, values)

    # The others

    def _act(self, moment: Moment, pid: int, started_at_seconds: float) -> None:
        """Wait for the moment, act, and release the permit."""
        with self._row_locked() if moment.name in ROW_LOCKS else nullcontext():
            time.sleep(max(0.0, started_at_seconds + moment.after_seconds - time.monotonic()))
            match moment.name:
                case "deadlock":
                    self._wait_for_the_permit_too()
                case "cancel":
                    self._hand.execute("select pg_cancel_backend(%s)", [pid])
                case "terminate":
                    self._hand.execute("select pg_terminate_backend(%s)", [pid])
                case "cut":
                    self._cut()
        self._other.execute("select pg_advisory_unlock_all()")

    @contextmanager
    def _row_locked(self) -> Iterator[None]:
        with self._other.transaction():
            self._other.execute("select from learning_submission_jobs where id = %s for update", [self._lease.job_id])
            yield

    def _wait_for_the_permit_too(self) -> None:
        """Wait for the permit while holding the job's row: a deadlock if the session holds the permit and needs the row."""
        self._other.execute("set local lock_timeout = '20ms'")
        with suppress(errors.LockNotAvailable, errors.DeadlockDetected), self._other.transaction():
            self._other.execute("select pg_advisory_xact_lock(%s::int, 1)", [self._permits.key])

    def _cut(self) -> None:
        """End the connection below PostgreSQL's protocol. It may be closed already."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)

    # The comparison

    def _compare(self, pid: int, what: str) -> None:
        known = [self._held.number] if self._held else []
        if self._connection.closed:
            until(lambda: self._numbers(pid) == [], what=f"{what}: a closed connection holds nothing")
        elif (found := self._numbers(pid)) != known and not self._is_ended():
            raise UnknownLock(f"{what}: known {known}, held {found}")

    def _is_ended(self) -> bool:
        """Report whether the connection is lost, so that its permit is too: the next statement says so."""
        try:
            self._connection.execute("select 1")
        except psycopg.OperationalError:
            self._connection.close()
            return True
        return False

    def _numbers(self, pid: int) -> list[int]:
        return [row["number"] for row in self._queue.owner.execute(LOCKS_OF, [pid])]

    def _connect(self) -> Connection:
        return worker_connection(self._queue.database)
