"""The scoreboard: anonymous shared memory made before the first fork. Each record has one writer, so there is no lock.

A record is kept in a cell of two buffers, each with a sequence number and a checksum. If a writer is killed in the middle of a
write, the previous record remains. A reader that meets a write takes the other buffer. Times are seconds of the monotonic
clock, which all processes of one host share.

A worker parses hostile documents, so its record is only a claim: `Scoreboard.worker` checks its bounds.
"""

import ctypes
import math
import mmap
import struct
import zlib
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, Self, TypeVar
from uuid import UUID

MAX_SLOTS = 64
MAX_CALLS = 64  # at once, of one model: the bound of OLLAMA_NUM_PARALLEL
COUNTERS = 42  # of a worker: the members of contract.Counter
OLLAMA_COUNTERS = 15  # of the monitor
CAUSES = 8  # of a process's end
MAX_ACTIVITY = 10
MAX_ABILITIES = 511  # of a worker: the bits of worker.core.abilities
_NO_ID = bytes(16)
_HEADER = struct.Struct("<QI")  # sequence, checksum
_BLANK = bytes(_HEADER.size)
_READ_TRIES = 8
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_MAP_FIXED = 0x10  # Linux
_MAX_SEQUENCE = 2**63  # a higher sequence number is damage: no writer counts that far


class Record(Protocol):
    """A value of fixed size. Its fields with their defaults are the record before the first write."""

    FORMAT: ClassVar[struct.Struct]

    def pack(self) -> bytes: ...

    @classmethod
    def unpack(cls, body: bytes) -> Self: ...


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker's claim about itself, written by that worker alone.

    `deadline_seconds` is infinite while the worker is idle. `next_lease_key` is the key of a lease request without a result:
    only the database knows whether a job carries it. The last two times are continued from the slot's worker before.
    """

    FORMAT: ClassVar[struct.Struct] = struct.Struct(f"<IB16s16s16sdddQ?idddddH{COUNTERS}Q")

    incarnation: int = 0
    activity: int = 0  # a member of contract.Activity
    job_id: UUID | None = None
    lease_key: UUID | None = None
    next_lease_key: UUID | None = None
    deadline_seconds: float = math.inf
    alive_seconds: float = 0.0  # last begin of an activity, or last token: see Report.enter_activity, Report.progress
    call_started_seconds: float = 0.0  # start of the last activity VISION or FEEDBACK, of each page anew
    uss_bytes: int = 0  # memory shared with no other process, sampled between jobs
    is_ready: bool = False  # has connected to the database since its start
    backend_pid: int = 0  # the server process of its connection, which PostgreSQL names as the sender of a notification
    activity_since_seconds: float = 0.0  # not moved by entering the same activity again
    advanced_seconds: float = 0.0  # last progress: see Report.advance
    completed_seconds: float = 0.0  # end of the last completed job
    vision_paused_until_seconds: float = 0.0  # see worker.ipc.pauses
    feedback_paused_until_seconds: float = 0.0
    abilities: int = 0  # see Abilities.as_bits. 0 before the first search for a job
    counters: tuple[int, ...] = (0,) * COUNTERS

    def pack(self) -> bytes:
        return self.FORMAT.pack(
            self.incarnation,
            self.activity,
            _packed_id(self.job_id),
            _packed_id(self.lease_key),
            _packed_id(self.next_lease_key),
            self.deadline_seconds,
            self.alive_seconds,
            self.call_started_seconds,
            self.uss_bytes,
            self.is_ready,
            self.backend_pid,
            self.activity_since_seconds,
            self.advanced_seconds,
            self.completed_seconds,
            self.vision_paused_until_seconds,
            self.feedback_paused_until_seconds,
            self.abilities,
            *self.counters,
        )

    @classmethod
    def unpack(cls, body: bytes) -> "WorkerRecord":
        values = cls.FORMAT.unpack(body)
        ids = map(_unpacked_id, values[2:5])
        fields = *values[:2], *ids, *values[5:-COUNTERS], values[-COUNTERS:]
        return cls(*fields)

    @property
    def is_possible(self) -> bool:
        """True if the claim is within its bounds. The record before the first write is not."""
        moments = (
            self.deadline_seconds,
            self.alive_seconds,
            self.call_started_seconds,
            self.activity_since_seconds,
            self.advanced_seconds,
            self.completed_seconds,
            self.vision_paused_until_seconds,
            self.feedback_paused_until_seconds,
        )
        is_known = 1 <= self.activity <= MAX_ACTIVITY and self.abilities <= MAX_ABILITIES
        return is_known and not any(map(math.isnan, moments))


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """The supervisor's account of one slot, or of the monitor.

    `pid` is 0 without a process. `last_status` is an exit code, or a negative signal number as in subprocess.
    """

    FORMAT: ClassVar[struct.Struct] = struct.Struct(f"<BiIdiB?Q{CAUSES}I")

    state: int = 0
    pid: int = 0
    starts: int = 0
    since_seconds: float = 0.0
    last_status: int = 0
    last_cause: int = 0
    is_retiring: bool = False
    rss_bytes: int = 0
    ends_by_cause: tuple[int, ...] = (0,) * CAUSES

    def pack(self) -> bytes:
        return self.FORMAT.pack(
            self.state,
            self.pid,
            self.starts,
            self.since_seconds,
            self.last_status,
            self.last_cause,
            self.is_retiring,
            self.rss_bytes,
            *self.ends_by_cause,
        )

    @classmethod
    def unpack(cls, body: bytes) -> "LedgerRecord":
        values = cls.FORMAT.unpack(body)
        fields = *values[:-CAUSES], values[-CAUSES:]
        return cls(*fields)


@dataclass(frozen=True, slots=True)
class FleetRecord:
    """The supervisor's account of all slots together. `reload_problem` is 0 without a problem.

    `heartbeat_seconds` is the time of the last turn of its loop, at most a tick ago while it runs.
    """

    FORMAT: ClassVar[struct.Struct] = struct.Struct("<I??Bd")

    wanted: int = 0
    is_reloading: bool = False
    gave_up: bool = False
    reload_problem: int = 0
    heartbeat_seconds: float = 0.0

    def pack(self) -> bytes:
        return self.FORMAT.pack(self.wanted, self.is_reloading, self.gave_up, self.reload_problem, self.heartbeat_seconds)

    @classmethod
    def unpack(cls, body: bytes) -> "FleetRecord":
        return cls(*cls.FORMAT.unpack(body))


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """The supervisor's instructions to all workers.

    Slots below `leasing_slots` may lease. A drain ends at `drain_by_seconds`. In `retiring` bit n is set if the worker of slot n
    is to leave after its job.
    """

    FORMAT: ClassVar[struct.Struct] = struct.Struct("<I?dQ")

    leasing_slots: int = 0
    is_draining: bool = False
    drain_by_seconds: float = math.inf
    retiring: int = 0

    def is_retiring(self, slot: int) -> bool:
        return bool(self.retiring >> slot & 1)

    def pack(self) -> bytes:
        return self.FORMAT.pack(self.leasing_slots, self.is_draining, self.drain_by_seconds, self.retiring)

    @classmethod
    def unpack(cls, body: bytes) -> "ControlRecord":
        return cls(*cls.FORMAT.unpack(body))


@dataclass(frozen=True, slots=True)
class MonitorRecord:
    """The monitor's last poll of the queue, the deadline of its next one, and totals that outlive the monitor."""

    FORMAT: ClassVar[struct.Struct] = struct.Struct("<IddQQ")

    incarnation: int = 0
    deadline_seconds: float = math.inf
    polled_at_seconds: float = 0.0
    leases_reclaimed: int = 0
    quarantined: int = 0

    def pack(self) -> bytes:
        return self.FORMAT.pack(
            self.incarnation, self.deadline_seconds, self.polled_at_seconds, self.leases_reclaimed, self.quarantined
        )

    @classmethod
    def unpack(cls, body: bytes) -> "MonitorRecord":
        return cls(*cls.FORMAT.unpack(body))


@dataclass(frozen=True, slots=True)
class AdmissionRecord:
    """The monitor's limits: how many slots may lease, and how many calls each step's model may have at once.

    64 is no limit, 0 calls are a closed gate. After `until_seconds` no worker leases, because a monitor that no longer writes
    cannot keep Ollama below its memory limit. If both steps use one model, both numbers are equal.
    `vision_probes` and `feedback_probes` count the monitor's own requests to the step's model that were answered.
    `vision_suspects` and `feedback_suspects` are the jobs whose calls to it failed since it last answered one.
    """

    FORMAT: ClassVar[struct.Struct] = struct.Struct("<IIIdQQII")

    slots: int = MAX_SLOTS
    vision_calls: int = MAX_CALLS
    feedback_calls: int = MAX_CALLS
    until_seconds: float = math.inf
    vision_probes: int = 0
    feedback_probes: int = 0
    vision_suspects: int = 0
    feedback_suspects: int = 0

    def pack(self) -> bytes:
        limits = self.slots, self.vision_calls, self.feedback_calls, self.until_seconds
        evidence = self.vision_probes, self.feedback_probes, self.vision_suspects, self.feedback_suspects
        return self.FORMAT.pack(*limits, *evidence)

    @classmethod
    def unpack(cls, body: bytes) -> "AdmissionRecord":
        return cls(*cls.FORMAT.unpack(body))


@dataclass(frozen=True, slots=True)
class PermitRecord:
    """Permits of each step's model that are lost: their holders have no job, and the server cannot end them yet.

    Bit n - 1 is set if permit n is lost. Workers use one higher number for each. If both steps use one model, both are equal.
    """

    FORMAT: ClassVar[struct.Struct] = struct.Struct("<QQ")

    lost_vision: int = 0
    lost_feedback: int = 0

    def pack(self) -> bytes:
        return self.FORMAT.pack(self.lost_vision, self.lost_feedback)

    @classmethod
    def unpack(cls, body: bytes) -> "PermitRecord":
        return cls(*cls.FORMAT.unpack(body))


@dataclass(frozen=True, slots=True)
class OllamaCountersRecord:
    """The monitor's counts of Ollama's calls and loads, continued by its successor. The monitor assigns the places."""

    FORMAT: ClassVar[struct.Struct] = struct.Struct(f"<{OLLAMA_COUNTERS}Q")

    counts: tuple[int, ...] = (0,) * OLLAMA_COUNTERS

    def pack(self) -> bytes:
        return self.FORMAT.pack(*self.counts)

    @classmethod
    def unpack(cls, body: bytes) -> "OllamaCountersRecord":
        return cls(cls.FORMAT.unpack(body))


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """The monitor's watch of the progress, continued by its successor. Nothing has moved forward since `since_seconds`."""

    FORMAT: ClassVar[struct.Struct] = struct.Struct("<ddd")

    sampled_at_seconds: float = 0.0
    since_seconds: float = 0.0
    excused_seconds: float = 0.0

    def pack(self) -> bytes:
        return self.FORMAT.pack(self.sampled_at_seconds, self.since_seconds, self.excused_seconds)

    @classmethod
    def unpack(cls, body: bytes) -> "ProgressRecord":
        return cls(*cls.FORMAT.unpack(body))


R = TypeVar("R", bound=Record)


class Cell(Generic[R]):
    """Two checked buffers for one record at an offset of the shared memory. One process writes, any process may read."""

    def __init__(self, memory: mmap.mmap, offset: int, kind: type[R]) -> None:
        self._memory, self._offset, self._kind = memory, offset, kind
        self._stride = self.size_of(kind) // 2
        self._written = 0  # this process's last sequence number, 0 before its first write

    @staticmethod
    def size_of(kind: type[Record]) -> int:
        """Size in bytes of both buffers."""
        return 2 * (_HEADER.size + kind.FORMAT.size)

    def write(self, record: R) -> None:
        """Overwrites the older buffer: its body first, the header that makes it valid last."""
        sequence = self._written = (self._written or max(self._sequence_of(0), self._sequence_of(1))) + 1
        body = record.pack()
        start = self._offset + (sequence % 2) * self._stride
        self._memory[start + _HEADER.size : start + self._stride] = body
        _HEADER.pack_into(self._memory, start, sequence, _checksum(sequence, body))

    def read(self) -> R:
        """The newest whole record. If there is none, the record with its defaults."""
        for _ in range(_READ_TRIES):  # each try meets at most one write in progress
            whole = [buffer for buffer in (self._buffer(0), self._buffer(1)) if buffer is not None]
            if whole:
                return self._kind.unpack(max(whole)[1])
            if self._is_blank():
                break
        return self._kind()

    def _is_blank(self) -> bool:
        """True before the end of the first write. Most cells of slots are never written."""
        starts = self._offset, self._offset + self._stride
        return all(self._memory[start : start + _HEADER.size] == _BLANK for start in starts)

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


class _SharedMemory:
    """One anonymous mapping, given out cell by cell."""

    def __init__(self, size: int) -> None:
        self._memory, self._used = mmap.mmap(-1, size), 0

    def cell(self, kind: type[R]) -> Cell[R]:
        offset, self._used = self._used, self._used + Cell.size_of(kind)
        return Cell(self._memory, offset, kind)

    def hide_from_forks(self) -> None:
        """Leave the mapping out of each process forked from now on, also of one that a C library forks."""
        self._memory.madvise(mmap.MADV_DONTFORK)

    def replace_in_fork(self) -> None:
        """Map empty private memory at the same address. Cells read default records there, and writes reach no other process."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
        if _LIBC.mmap(address, len(self._memory), protection, flags, -1, 0) != address:
            raise OSError(ctypes.get_errno(), "mmap")


_SINGLE = (
    ControlRecord,
    FleetRecord,
    LedgerRecord,
    MonitorRecord,
    AdmissionRecord,
    OllamaCountersRecord,
    PermitRecord,
    ProgressRecord,
)
_PER_SLOT = (WorkerRecord, LedgerRecord)


class Scoreboard:
    """All records of an instance, made by the supervisor and inherited by every child.

    The supervisor writes `control`, `fleet`, `ledgers` (one per slot) and `monitor_ledger`. The monitor writes `monitor`,
    `admission`, `permits`, `ollama_counters` and `progress`. Each worker writes the record of its slot.
    """

    def __init__(self) -> None:
        self._memory = memory = _SharedMemory(sum(map(Cell.size_of, _SINGLE)) + MAX_SLOTS * sum(map(Cell.size_of, _PER_SLOT)))
        self.control, self.fleet = memory.cell(ControlRecord), memory.cell(FleetRecord)
        self.monitor_ledger = memory.cell(LedgerRecord)
        self.monitor, self.admission = memory.cell(MonitorRecord), memory.cell(AdmissionRecord)
        self.ollama_counters, self.progress = memory.cell(OllamaCountersRecord), memory.cell(ProgressRecord)
        self.permits = memory.cell(PermitRecord)
        self.ledgers = tuple(memory.cell(LedgerRecord) for _ in range(MAX_SLOTS))
        self._workers = tuple(memory.cell(WorkerRecord) for _ in range(MAX_SLOTS))

    def hide_from_forks(self) -> None:
        """Called by a worker, whose adapter may fork: a forked process must not write the worker's record."""
        self._memory.hide_from_forks()

    def replace_in_fork(self) -> None:
        """Called in a forked process, whose copies of our objects may still read or write records."""
        self._memory.replace_in_fork()

    def write_worker(self, slot: int, record: WorkerRecord) -> None:
        self._workers[slot].write(record)

    def worker(self, slot: int) -> WorkerRecord | None:
        """The slot's claim about itself. None if none was written, or if it is out of bounds."""
        record = self._workers[slot].read()
        return record if record.is_possible else None


def _checksum(sequence: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(sequence.to_bytes(8)))


def _packed_id(identity: UUID | None) -> bytes:
    return identity.bytes if identity else _NO_ID


def _unpacked_id(identity: bytes) -> UUID | None:
    return None if identity == _NO_ID else UUID(bytes=identity)
