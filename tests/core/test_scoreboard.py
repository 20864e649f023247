"""The scoreboard: a record is read back whole or not at all, even if its writer dies or writes at the same time."""

import math
import mmap
import os
import random
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

import pytest

from supervisor.core.fleet import ExitCause
from testkit.waiting import until
from worker.ipc.contract import Activity, Counter, Wiring
from worker.ipc.scoreboard import (
    CAUSES,
    COUNTERS,
    MAX_ACTIVITY,
    MAX_SLOTS,
    AdmissionRecord,
    Cell,
    ControlRecord,
    FleetRecord,
    LedgerRecord,
    MonitorRecord,
    Scoreboard,
    WorkerRecord,
)
from worker.report import Report


@dataclass(frozen=True, slots=True)
class Body:
    """A small record."""

    FORMAT: ClassVar[struct.Struct] = struct.Struct("<IB16s")

    number: int = 0
    flag: int = 0
    text: bytes = bytes(16)

    def pack(self) -> bytes:
        return self.FORMAT.pack(self.number, self.flag, self.text)

    @classmethod
    def unpack(cls, body: bytes) -> "Body":
        return cls(*cls.FORMAT.unpack(body))


HEADER_BYTES = 12
STRIDE = HEADER_BYTES + Body.FORMAT.size
NONE, FIRST, BEFORE, NEWEST = Body(), Body(1, 1, b"a" * 16), Body(2, 2, b"b" * 16), Body(3, 3, b"c" * 16)
NEWEST_AT = (3 % 2) * STRIDE  # buffers take turns
KILLS, READS, MAX_WRITES, MAX_WAIT_READS = 200, 5_000, 1_000_000, 1_000_000

IDS = UUID(int=5), UUID(int=6), UUID(int=7)
TOTALS = tuple(range(2**40, 2**40 + COUNTERS))
WORKER = WorkerRecord(
    2**32 - 1, Activity.VISION, *IDS, 1e9 + 0.25, 12.5, 11.25, 2**41, True, 2**22, 10.5, 9.5, 8.5, 7.5, 6.5, 511, TOTALS
)
LEDGER = LedgerRecord(4, 2**22, 9, 77.5, -9, 3, True, 2**41, tuple(range(CAUSES)))
FLEET = FleetRecord(64, True, True, 2)
CONTROL = ControlRecord(64, True, 99.5)
READINGS = MonitorRecord(7, 50.0, 49.5, 2**40, 3)
ADMISSION = AdmissionRecord(2, 0, 1, 99.5)


def written_thrice() -> tuple[Cell[Body], mmap.mmap]:
    memory = mmap.mmap(-1, 2 * STRIDE)
    cell = Cell(memory, 0, Body)
    for body in (FIRST, BEFORE, NEWEST):
        cell.write(body)
    return cell, memory


def damaged(place: int, mask: int) -> Cell[Body]:
    cell, memory = written_thrice()
    memory[place] ^= mask
    return cell


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("place", range(STRIDE))
def test_a_damaged_byte_leaves_the_record_before(place: int, mask: int) -> None:
    """If any byte of the newer buffer is damaged, a reader takes the older one."""
    assert damaged(NEWEST_AT + place, mask).read() == BEFORE


@pytest.mark.parametrize("place", range(STRIDE))
def test_damage_to_the_older_buffer_is_not_seen(place: int) -> None:
    """Damage to the buffer that the next write overwrites has no effect on a reader."""
    assert damaged(STRIDE - NEWEST_AT + place, 0x01).read() == NEWEST


def test_a_write_cut_off_anywhere_leaves_the_record_before() -> None:
    """After each prefix of a write, body first and header last, a reader finds the previous record and a writer continues."""
    _, memory = written_thrice()
    new = memory[NEWEST_AT : NEWEST_AT + STRIDE]
    order = [*range(HEADER_BYTES, STRIDE), *range(HEADER_BYTES)]
    for length in range(len(order)):
        torn, image = before_the_third()
        for place in order[:length]:
            image[NEWEST_AT + place] = new[place]
        is_whole = image[NEWEST_AT : NEWEST_AT + STRIDE] == new
        assert torn.read() == (NEWEST if is_whole else BEFORE), length
        torn.write(NEWEST)
        assert torn.read() == NEWEST


def before_the_third() -> tuple[Cell[Body], mmap.mmap]:
    memory = mmap.mmap(-1, 2 * STRIDE)
    cell = Cell(memory, 0, Body)
    cell.write(FIRST)
    cell.write(BEFORE)
    return cell, memory


def test_without_a_whole_record_the_defaults_are_read() -> None:
    """If both buffers are damaged, the defaults are read. The next write repairs the cell."""
    cell, memory = written_thrice()
    memory[HEADER_BYTES] ^= 1
    memory[STRIDE + HEADER_BYTES] ^= 1
    assert cell.read() == NONE
    cell.write(FIRST)
    assert cell.read() == FIRST


def numbered(number: int) -> WorkerRecord:
    """A record with the same number in all fields."""
    identity = UUID(int=number * (2**64 + 1))
    ids, seconds, activity = (identity,) * 3, float(number), 1 + number % MAX_ACTIVITY
    return WorkerRecord(number, activity, *ids, seconds, seconds, seconds, number, counters=(number,) * COUNTERS)


def number_of(board: Scoreboard) -> int:
    """The number in the slot's record, after a check that all fields have it."""
    found = board.worker(0)
    assert found is not None
    assert found == numbered(found.incarnation)
    return found.incarnation


@contextmanager
def fast_writer(board: Scoreboard, first: int) -> Iterator[None]:
    """A child that writes numbered records until it is killed."""
    child = os.fork()
    if not child:
        try:
            for number in range(first, first + MAX_WRITES):
                board.write_worker(0, numbered(number))
        finally:
            os._exit(0)
    try:
        assert any(number_of(board) > first for _ in range(MAX_WAIT_READS))
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_writer_killed_at_any_time_leaves_a_whole_record() -> None:
    """200 children are killed while they write. Each leaves a whole record, and the next one continues."""
    board, chance = Scoreboard(), random.Random(7)
    board.write_worker(0, numbered(1))
    for _ in range(KILLS):
        with fast_writer(board, number_of(board)):
            for _ in range(chance.randrange(20)):
                number_of(board)
        number_of(board)


def test_a_reader_never_sees_a_mixture() -> None:
    """A reader sees only whole records, and new ones repeatedly, while another process writes as fast as it can."""
    board = Scoreboard()
    board.write_worker(0, numbered(1))
    seen: set[int] = set()

    def has_seen_many() -> bool:
        seen.update(number_of(board) for _ in range(READS))
        return len(seen) > 10

    with fast_writer(board, 1):
        until(has_seen_many)


def test_a_new_scoreboard() -> None:
    """Before the first write there is no worker's claim, no slot may lease, and admission sets no limit."""
    board = Scoreboard()
    assert board.worker(0) is None
    assert (board.ledgers[0].read(), board.monitor_ledger.read()) == (LedgerRecord(), LedgerRecord())
    assert (board.control.read(), board.monitor.read()) == (ControlRecord(leasing_slots=0), MonitorRecord())
    assert board.admission.read() == AdmissionRecord(64, 64, 64, math.inf)


def test_every_record_has_its_own_place() -> None:
    """All cells are read back as written, so no two of them overlap."""
    board = Scoreboard()
    for slot in range(MAX_SLOTS):
        board.write_worker(slot, numbered(slot + 1))
        board.ledgers[slot].write(LedgerRecord(pid=slot))
    board.monitor_ledger.write(LEDGER)
    board.control.write(CONTROL)
    board.monitor.write(READINGS)
    board.fleet.write(FLEET)
    board.admission.write(ADMISSION)
    assert [board.worker(slot) for slot in range(MAX_SLOTS)] == [numbered(slot + 1) for slot in range(MAX_SLOTS)]
    assert [board.ledgers[slot].read().pid for slot in range(MAX_SLOTS)] == list(range(MAX_SLOTS))
    assert (board.monitor_ledger.read(), board.control.read(), board.monitor.read(), board.fleet.read()) == (
        LEDGER,
        CONTROL,
        READINGS,
        FLEET,
    )
    assert board.admission.read() == ADMISSION


@pytest.mark.parametrize("claim", [WORKER, WorkerRecord(1, Activity.IDLE)], ids=["at work", "idle"])
def test_round_trip_of_a_worker(claim: WorkerRecord) -> None:
    """Every field of a worker's record is read back as written, including absent ids and an infinite deadline."""
    board = Scoreboard()
    board.write_worker(MAX_SLOTS - 1, claim)
    assert board.worker(MAX_SLOTS - 1) == claim


CLAIMS: dict[str, tuple[WorkerRecord, bool]] = {
    "lowest activity": (WorkerRecord(activity=1), True),
    "highest activity": (WorkerRecord(activity=MAX_ACTIVITY), True),
    "no deadline": (WorkerRecord(activity=3, deadline_seconds=math.inf), True),
    "activity nought": (WorkerRecord(activity=0), False),
    "activity past the last": (WorkerRecord(activity=MAX_ACTIVITY + 1), False),
    "activity of a broken byte": (WorkerRecord(activity=255), False),
    "deadline that is no number": (WorkerRecord(activity=3, deadline_seconds=math.nan), False),
    "progress that is no number": (WorkerRecord(activity=3, alive_seconds=math.nan), False),
    "start of a call that is no number": (WorkerRecord(activity=3, call_started_seconds=math.nan), False),
    "start of an activity that is no number": (WorkerRecord(activity=3, activity_since_seconds=math.nan), False),
    "advance that is no number": (WorkerRecord(activity=3, advanced_seconds=math.nan), False),
    "success that is no number": (WorkerRecord(activity=3, completed_seconds=math.nan), False),
    "pause that is no number": (WorkerRecord(activity=3, feedback_paused_until_seconds=math.nan), False),
}


@pytest.mark.parametrize(("claim", "is_believed"), CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_outside_its_bounds_is_none(claim: WorkerRecord, *, is_believed: bool) -> None:
    """A worker's claim is accepted within its bounds and is None outside them."""
    board = Scoreboard()
    board.write_worker(0, claim)
    assert board.worker(0) == (claim if is_believed else None)


def test_the_bounds_are_those_of_the_contract() -> None:
    """The scoreboard's bounds fit all activities, counters and causes of an exit."""
    assert [min(Activity), max(Activity)] == [1, MAX_ACTIVITY]
    assert sorted(Counter) == list(range(COUNTERS))
    assert sorted(ExitCause) == list(range(CAUSES))


def test_totals_survive() -> None:
    """A new worker continues its slot's totals and the times of its successes, but not the job, the lease or the deadline."""
    board = Scoreboard()
    for incarnation in (1, 2, 3):
        report = Report(Wiring(0, 0, incarnation, board, -1, -1, -1), clock=lambda: 100.0)
        report.enter_activity(Activity.CONNECT, 5.0)
        ended_at_seconds = 100.0 if incarnation > 1 else 0.0
        assert board.worker(0) == WorkerRecord(
            incarnation,
            Activity.CONNECT,
            deadline_seconds=105.0,
            alive_seconds=100.0,
            activity_since_seconds=100.0,
            advanced_seconds=ended_at_seconds,
            completed_seconds=ended_at_seconds,
            counters=totals(incarnation - 1),
        )
        report.count(Counter.COMPLETED)
        report.count(Counter.QUARANTINED)
        report.set_lease(UUID(int=1), UUID(int=2))
        report.set_pending_lease(UUID(int=3))


def totals(number: int) -> tuple[int, ...]:
    return tuple(number if place in {Counter.COMPLETED, Counter.QUARANTINED} else 0 for place in range(COUNTERS))


def exit_code_of_fork(act: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_of_a_worker_writes_no_record() -> None:
    """A forked process has no memory of the scoreboard, and after `replace_in_fork` an empty one of its own."""
    scoreboard = Scoreboard()
    scoreboard.write_worker(0, WorkerRecord(7, Activity.IDLE))
    scoreboard.hide_from_forks()

    def write_to_own_memory() -> None:
        scoreboard.replace_in_fork()
        scoreboard.write_worker(0, WorkerRecord(8, Activity.VISION))
        os._exit(scoreboard.worker(0) != WorkerRecord(8, Activity.VISION))

    assert exit_code_of_fork(write_to_own_memory) == 0
    assert exit_code_of_fork(lambda: scoreboard.write_worker(0, WorkerRecord(8, Activity.VISION))) == -signal.SIGSEGV
    assert scoreboard.worker(0) == WorkerRecord(7, Activity.IDLE)
