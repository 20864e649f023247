"""The scoreboard: anonymous shared memory made before the first fork, one writer per record, no lock.

A record is kept in two buffers, each with a sequence number and a checksum. A writer killed in the middle of a write leaves
the record before it; a reader that meets a write takes the other buffer. Times are seconds of the monotonic clock, which
all processes of one host share. What a worker writes is a claim: `Scoreboard.worker` checks bounds and answers None for
what cannot be.
"""

import math
import mmap
import struct
import zlib
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, get_args
from uuid import UUID

MAX_SLOTS = 64
MAX_CALLS = 64  # at once, of one model: the bound of OLLAMA_NUM_PARALLEL
COUNTERS = 19
TALLIES = 15  # of what the monitor counts
CAUSES = 8  # of a process's end
MAX_ACTIVITY = 10
_NO_ID = bytes(16)
_HEADER = struct.Struct("<QI")  # sequence, checksum
_READ_TRIES = 8
_MAX_SEQUENCE = 2**63  # beyond it a sequence was not counted up to, but damaged

_WORKER = struct.Struct(f"<IB16s16s16sdddQ?i{COUNTERS}Q")
_LEDGER = struct.Struct(f"<BiIdiB?Q{CAUSES}I")
_FLEET = struct.Struct("<II???B")
_CONTROL = struct.Struct("<I?dQ")
_TALLY = struct.Struct(f"<{TALLIES}Q")
_READINGS = struct.Struct("<IddQQ")
_ADMISSION = struct.Struct("<IIIBd")


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """What a worker says of itself. `deadline_seconds` is infinite where nothing is deadline_set (idle).

    `next_lease_key` is the key of a lease that is being asked for: whether a job carries it, only the database knows.
    """

    incarnation: int = 0
    activity: int = 0
    job_id: UUID | None = None
    lease_key: UUID | None = None
    next_lease_key: UUID | None = None
    deadline_seconds: float = math.inf
    progress_seconds: float = 0.0
    call_started_seconds: float = 0.0  # of the last call to a model
    uss_bytes: int = 0  # memory that it shares with nobody, looked at between jobs
    is_ready: bool = False  # has reached the database in this life
    backend_pid: int = 0  # the server's process for its connection, which the server names as the sender of notifications
    counters: tuple[int, ...] = (0,) * COUNTERS


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """What the supervisor says of a slot. `pid` 0: none; `last_status`: exit code, or minus the signal, as in subprocess."""

    state: int = 0
    pid: int = 0
    starts: int = 0
    since_seconds: float = 0.0
    last_status: int = 0
    last_cause: int = 0
    is_retiring: bool = False
    rss_bytes: int = 0
    ends_by_cause: tuple[int, ...] = (0,) * CAUSES


@dataclass(frozen=True, slots=True)
class FleetRecord:
    """What the supervisor says of all slots together. `reload_problem` 0: none."""

    wanted: int = 0
    generation: int = 0
    is_ready: bool = False
    is_reloading: bool = False
    gave_up: bool = False
    reload_problem: int = 0


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """What the supervisor asks of all workers: how many slots may lease, by when a drain ends, who is to leave after its job.

    `retiring` has bit n set for slot n.
    """

    leasing_slots: int = 0
    is_draining: bool = False
    drain_by_seconds: float = math.inf
    retiring: int = 0

    def is_retiring(self, slot: int) -> bool:
        return bool(self.retiring >> slot & 1)


@dataclass(frozen=True, slots=True)
class MonitorRecord:
    """What the monitor knows: when it last looked at the queue, by when it promised to look again, and totals that outlive it."""

    incarnation: int = 0
    deadline_seconds: float = math.inf
    looked_at_seconds: float = 0.0
    leases_returned: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class AdmissionRecord:
    """What the monitor, its only writer, admits: how many slots may lease, and how many calls a state's model may have at once.

    64 is no bound, 0 calls are a closed gate. `reason` is a place in `worker.ipc.contract.Reason`. After `until_seconds` nobody
    leases: under a limit a monitor that has fallen silent gives no leave. Two states of one model have equal numbers.
    """

    slots: int = MAX_SLOTS
    vision_calls: int = MAX_CALLS
    feedback_calls: int = MAX_CALLS
    reason: int = 0
    until_seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class OllamaCountersRecord:
    """What the monitor, its only writer, has counted of Ollama, so that its successors go on counting. It knows the places."""

    counts: tuple[int, ...] = (0,) * TALLIES


class Record:
    """Two checked buffers at an offset of the shared memory. One process writes, any may read."""

    def __init__(self, memory: mmap.mmap, offset: int, body: struct.Struct) -> None:
        self._memory, self._offset, self._body = memory, offset, body
        self._stride = _HEADER.size + body.size
        self._written = 0  # the last sequence of this process, which is the only one that writes

    def write(self, *values: object) -> None:
        sequence = self._written = (self._written or max(self._sequence_of(0), self._sequence_of(1))) + 1
        body = self._body.pack(*values)
        start = self._offset + (sequence % 2) * self._stride
        self._memory[start + _HEADER.size : start + self._stride] = body
        _HEADER.pack_into(self._memory, start, sequence, _checksum(sequence, body))

    def read(self) -> tuple[Any, ...] | None:
        """The newest whole body, or None if none was ever written."""
        for _ in range(_READ_TRIES):  # each try meets at most one write in progress
            whole = [b for b in (self._buffer(0), self._buffer(1)) if b is not None]
            if whole:
                return self._body.unpack(max(whole)[1])
        return None

    def _buffer(self, side: int) -> tuple[int, bytes] | None:
        start = self._offset + side * self._stride
        image = self._memory[start : start + self._stride]
        sequence, checksum = _HEADER.unpack_from(image)
        body = image[_HEADER.size :]
        is_whole = 0 < sequence < _MAX_SEQUENCE and checksum == _checksum(sequence, body)
        return (sequence, body) if is_whole else None

    def _sequence_of(self, side: int) -> int:
        buffer = self._buffer(side)
        return buffer[0] if buffer else 0


class Scoreboard:
    """All records of an instance. Made by the supervisor, inherited by every child."""

    def __init__(self) -> None:
        shapes = [_CONTROL, _READINGS, _FLEET, _ADMISSION, _TALLY] + [_WORKER] * MAX_SLOTS + [_LEDGER] * (MAX_SLOTS + 1)
        sizes = [2 * (_HEADER.size + shape.size) for shape in shapes]
        self._memory = mmap.mmap(-1, sum(sizes))
        records = [Record(self._memory, sum(sizes[:place]), shape) for place, shape in enumerate(shapes)]
        self._control, self._monitor_record, self._fleet, self._admission, self._counters = records[:5]
        self._workers, self._ledgers = records[5 : 5 + MAX_SLOTS], records[5 + MAX_SLOTS :]

    def write_worker(self, slot: int, record: WorkerRecord) -> None:
        incarnation, activity, job_id, lease_key, next_lease_key, *numbers, counters = _values(record)
        ids = _packed(job_id), _packed(lease_key), _packed(next_lease_key)
        self._workers[slot].write(incarnation, activity, *ids, *numbers, *counters)

    def worker(self, slot: int) -> WorkerRecord | None:
        """The slot's claim about itself; None where nothing was written or what was written cannot be."""
        values = self._workers[slot].read()
        if values is None:
            return None
        incarnation, activity, job_id, lease_key, next_lease_key, *fields = values
        ids = _unpacked(job_id), _unpacked(lease_key), _unpacked(next_lease_key)
        deadline, progress, call_started, uss, ready, backend, *counters = fields
        record = WorkerRecord(incarnation, activity, *ids, deadline, progress, call_started, uss, ready, backend, tuple(counters))
        return record if _is_possible(record) else None

    def write_ledger(self, slot: int, record: LedgerRecord) -> None:
        """`slot` -1 is the monitor."""
        *numbers, ends_by_cause = _values(record)
        self._ledgers[slot].write(*numbers, *ends_by_cause)

    def ledger(self, slot: int) -> LedgerRecord:
        values = self._ledgers[slot].read()
        return LedgerRecord(*(*values[:-CAUSES], values[-CAUSES:])) if values else LedgerRecord()

    def write_fleet(self, record: FleetRecord) -> None:
        self._fleet.write(*_values(record))

    def fleet(self) -> FleetRecord:
        return FleetRecord(*self._fleet.read() or ())

    def write_control(self, record: ControlRecord) -> None:
        self._control.write(*_values(record))

    def control(self) -> ControlRecord:
        return ControlRecord(*self._control.read() or ())

    def write_monitor_record(self, record: MonitorRecord) -> None:
        self._monitor_record.write(*_values(record))

    def monitor_record(self) -> MonitorRecord:
        return MonitorRecord(*self._monitor_record.read() or ())

    def write_admission(self, record: AdmissionRecord) -> None:
        self._admission.write(*_values(record))

    def admission(self) -> AdmissionRecord:
        return AdmissionRecord(*self._admission.read() or ())

    def write_ollama_counters(self, record: OllamaCountersRecord) -> None:
        self._counters.write(*record.counts)

    def tally(self) -> OllamaCountersRecord:
        values = self._counters.read()
        return OllamaCountersRecord(values) if values else OllamaCountersRecord()


AnyRecord = WorkerRecord | LedgerRecord | FleetRecord | ControlRecord | MonitorRecord | AdmissionRecord
_FIELDS = {kind: attrgetter(*kind.__slots__) for kind in get_args(AnyRecord)}


def _values(record: AnyRecord) -> tuple[Any, ...]:
    values: tuple[Any, ...] = _FIELDS[type(record)](record)
    return values


def _checksum(sequence: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(sequence.to_bytes(8)))


def _packed(identity: UUID | None) -> bytes:
    return identity.bytes if identity else _NO_ID


def _unpacked(identity: bytes) -> UUID | None:
    return None if identity == _NO_ID else UUID(bytes=identity)


def _is_possible(record: WorkerRecord) -> bool:
    times = (record.deadline_seconds, record.progress_seconds, record.call_started_seconds)
    return 1 <= record.activity <= MAX_ACTIVITY and not any(map(math.isnan, times))
