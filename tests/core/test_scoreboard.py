"""The scoreboard: what was written is read back whole or not at all, whenever its writer dies or is met at work."""

import math
import mmap
import os
import random
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from supervisor.core.fleet import ExitCause
from testkit.waiting import until
from worker.ipc.contract import Activity, Counter, HoldReason, Wiring
from worker.ipc.scoreboard import (
    CAUSES,
    COUNTERS,
    MAX_ACTIVITY,
    MAX_SLOTS,
    AdmissionRecord,
    ControlRecord,
    FleetRecord,
    LedgerRecord,
    MonitorRecord,
    Record,
    Scoreboard,
    WorkerRecord,
)
from worker.report import Report

MONITOR = -1
BODY = struct.Struct("<IB16s")
HEADER_BYTES = 12
STRIDE = HEADER_BYTES + BODY.size
FIRST, BEFORE, NEWEST = (1, 1, b"a" * 16), (2, 2, b"b" * 16), (3, 3, b"c" * 16)
NEWEST_AT = (3 % 2) * STRIDE  # buffers take turns
KILLS, READS, MAX_WRITES, MAX_WAIT_READS = 200, 5_000, 1_000_000, 1_000_000

IDS = UUID(int=5), UUID(int=6), UUID(int=7)
TOTALS = tuple(range(2**40, 2**40 + COUNTERS))
WORKER = WorkerRecord(2**32 - 1, Activity.VISION, *IDS, 1e9 + 0.25, 12.5, 2**41, True, 2**22, TOTALS)
LEDGER = LedgerRecord(4, 2**22, 9, 77.5, -9, 3, True, 2**41, tuple(range(CAUSES)))
FLEET = FleetRecord(64, 3, True, True, True, 2)
CONTROL = ControlRecord(64, True, 99.5)
READINGS = MonitorRecord(7, 50.0, 49.5, 2**40, 3)
ADMISSION = AdmissionRecord(2, 0, 1, HoldReason.EXCLUSIVE, 99.5)


def written_thrice() -> tuple[Record, mmap.mmap]:
    memory = mmap.mmap(-1, 2 * STRIDE)
    record = Record(memory, 0, BODY)
    for values in (FIRST, BEFORE, NEWEST):
        record.write(*values)
    return record, memory


def damaged(place: int, mask: int) -> Record:
    record, memory = written_thrice()
    memory[place] ^= mask
    return record


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("place", range(STRIDE))
def test_a_damaged_byte_leaves_the_record_before(place: int, mask: int) -> None:
    """Any byte of the newer buffer that is not as it was written makes a reader take the older one."""
    assert damaged(NEWEST_AT + place, mask).read() == BEFORE


@pytest.mark.parametrize("place", range(STRIDE))
def test_damage_to_the_older_buffer_is_not_seen(place: int) -> None:
    """A reader of the newest record does not care what the next write will overwrite."""
    assert damaged(STRIDE - NEWEST_AT + place, 0x01).read() == NEWEST


def test_a_write_cut_off_anywhere_leaves_the_record_before() -> None:
    """After each prefix of a write, body first and header last, a reader finds the record before it and a writer goes on."""
    _, memory = written_thrice()
    new = memory[NEWEST_AT : NEWEST_AT + STRIDE]
    order = [*range(HEADER_BYTES, STRIDE), *range(HEADER_BYTES)]
    for length in range(len(order)):
        torn, image = before_the_third()
        for place in order[:length]:
            image[NEWEST_AT + place] = new[place]
        is_whole = image[NEWEST_AT : NEWEST_AT + STRIDE] == new
        assert torn.read() == (NEWEST if is_whole else BEFORE), length
        torn.write(*NEWEST)
        assert torn.read() == NEWEST


def before_the_third() -> tuple[Record, mmap.mmap]:
    memory = mmap.mmap(-1, 2 * STRIDE)
    record = Record(memory, 0, BODY)
    record.write(*FIRST)
    record.write(*BEFORE)
    return record, memory


def test_nothing_whole_is_nothing() -> None:
    """Where both buffers are damaged there is no record, and the next write makes one again."""
    record, memory = written_thrice()
    memory[HEADER_BYTES] ^= 1
    memory[STRIDE + HEADER_BYTES] ^= 1
    assert record.read() is None
    record.write(*FIRST)
    assert record.read() == FIRST


def numbered(number: int) -> WorkerRecord:
    """A record all of whose fields tell the same number."""
    identity = UUID(int=number * (2**64 + 1))
    ids, seconds, activity = (identity,) * 3, float(number), 1 + number % MAX_ACTIVITY
    return WorkerRecord(number, activity, *ids, seconds, seconds, number, counters=(number,) * COUNTERS)


def number_of(board: Scoreboard) -> int:
    """The number that the slot's record tells, having checked that all of its fields do."""
    found = board.worker(0)
    assert found is not None
    assert found == numbered(found.incarnation)
    return found.incarnation


@contextmanager
def fast_writer(board: Scoreboard, first: int) -> Iterator[None]:
    """A child that writes one numbered record after the other until it is killed."""
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
    """200 children are killed while they write; each leaves a record whose fields belong together, and the next goes on."""
    board, chance = Scoreboard(), random.Random(7)
    board.write_worker(0, numbered(1))
    for _ in range(KILLS):
        with fast_writer(board, number_of(board)):
            for _ in range(chance.randrange(20)):
                number_of(board)
        number_of(board)


def test_a_reader_never_sees_a_mixture() -> None:
    """Whoever reads while another process writes as fast as it can sees whole records, and new ones again and again."""
    board = Scoreboard()
    board.write_worker(0, numbered(1))
    seen: set[int] = set()

    def has_seen_many() -> bool:
        seen.update(number_of(board) for _ in range(READS))
        return len(seen) > 10

    with fast_writer(board, 1):
        until(has_seen_many)


def test_a_new_scoreboard_says_nothing() -> None:
    """Before the first write no worker claims anything, the control record lets no slot lease, and admission bounds nothing."""
    board = Scoreboard()
    assert board.worker(0) is None
    assert (board.ledger(0), board.ledger(MONITOR)) == (LedgerRecord(), LedgerRecord())
    assert (board.control(), board.monitor_record()) == (ControlRecord(leasing_slots=0), MonitorRecord())
    assert board.admission() == AdmissionRecord(64, 64, 64, HoldReason.NONE, math.inf)


def test_every_record_has_its_own_place() -> None:
    """All slots, the monitor's ledger and the records of the whole are read back as written, none over another."""
    board = Scoreboard()
    for slot in range(MAX_SLOTS):
        board.write_worker(slot, numbered(slot + 1))
        board.write_ledger(slot, LedgerRecord(pid=slot))
    board.write_ledger(MONITOR, LEDGER)
    board.write_control(CONTROL)
    board.write_monitor_record(READINGS)
    board.write_fleet(FLEET)
    board.write_admission(ADMISSION)
    assert [board.worker(slot) for slot in range(MAX_SLOTS)] == [numbered(slot + 1) for slot in range(MAX_SLOTS)]
    assert [board.ledger(slot).pid for slot in range(MAX_SLOTS)] == list(range(MAX_SLOTS))
    assert (board.ledger(MONITOR), board.control(), board.monitor_record(), board.fleet()) == (LEDGER, CONTROL, READINGS, FLEET)
    assert board.admission() == ADMISSION


@pytest.mark.parametrize("claim", [WORKER, WorkerRecord(1, Activity.IDLE)], ids=["at work", "idle"])
def test_round_trip_of_a_worker(claim: WorkerRecord) -> None:
    """Every field of a worker's record comes back as it was written, the absent ids and the infinite deadline too."""
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
    "progress that is no number": (WorkerRecord(activity=3, progress_seconds=math.nan), False),
}


@pytest.mark.parametrize(("claim", "is_believed"), CLAIMS.values(), ids=CLAIMS.keys())
def test_claims(claim: WorkerRecord, *, is_believed: bool) -> None:
    """What a worker says of itself is believed within its bounds, and is no record at all beyond them."""
    board = Scoreboard()
    board.write_worker(0, claim)
    assert board.worker(0) == (claim if is_believed else None)


def test_the_bounds_are_those_of_the_contract() -> None:
    """Every activity passes the scoreboard's bound, and every counter and every cause of an end has a place of its own in it."""
    assert [min(Activity), max(Activity)] == [1, MAX_ACTIVITY]
    assert sorted(Counter) == list(range(COUNTERS))
    assert sorted(ExitCause) == list(range(CAUSES))


def test_totals_survive() -> None:
    """A slot's totals go on where its last worker left them; its job, its lease and its deadline do not."""
    board = Scoreboard()
    for incarnation in (1, 2, 3):
        report = Report(Wiring(0, 0, incarnation, board, -1, -1, -1), clock=lambda: 100.0)
        report.enter(Activity.CONNECT, 5.0)
        assert board.worker(0) == WorkerRecord(
            incarnation, Activity.CONNECT, None, None, None, 105.0, 100.0, counters=totals(incarnation - 1)
        )
        report.count(Counter.COMPLETED)
        report.count(Counter.QUARANTINED)
        report.hold(UUID(int=1), UUID(int=2))
        report.ask_for(UUID(int=3))


def totals(number: int) -> tuple[int, ...]:
    return tuple(number if place in {Counter.COMPLETED, Counter.QUARANTINED} else 0 for place in range(COUNTERS))
