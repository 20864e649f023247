"""The monitor's current knowledge. Status and metrics are made from it and from the scoreboard."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.progress import ProgressView
from supervisor.monitor.queue.permit_waits import LostPermit, PermitWait
from supervisor.monitor.queue.refused_rows import RefusedRows
from supervisor.monitor.queue.silent_instances import SilentInstance
from supervisor.monitor.refused_files import RefusedFiles
from supervisor.monitor.suspensions import Suspensions
from supervisor.settings.unknown import UnknownVariable
from worker.queue.polls import JobsAhead, LeftQueued, QueueStats, StepBacklog


@dataclass(slots=True)
class MonitorState:
    """Written by the queue listener. The admission controller writes `admission`, the events of workers `worker_outages`, the
    progress watch `progress` and `suspensions`. Events, the reclaimer and the listener write `refused_rows`, events alone
    `refused_files`.

    `worker_outages` has, by slot, class and time of the last error that broke the worker's connection. A read-only or full
    database, and a limit of connections, break the connections of workers only.
    """

    is_connected: bool = False
    is_listening: bool = False
    is_pooled: bool = False  # behind a transaction pooler, where no notification arrives
    outage: str = "not connected yet"
    has_error_reply: bool = False  # the database itself rejected the connection or a statement, so server and network are up
    polled_at_seconds: float = 0.0  # the last successful poll, 0: none yet
    lost_at_seconds: float = 0.0  # the first failed connection since the last good one, 0: none
    is_waiting: bool = False  # by the last poll: a job can be leased now
    stats: QueueStats = field(default_factory=QueueStats)
    backlog: StepBacklog = field(default_factory=StepBacklog)
    counted_at_seconds: float = -math.inf
    refused_rows: RefusedRows = field(default_factory=RefusedRows)
    refused_files: RefusedFiles = field(default_factory=RefusedFiles)
    stuck_jobs: Mapping[UUID, str] = field(default_factory=dict)  # rows that no worker can ever take, with their fault
    jobs_ahead: JobsAhead = field(default_factory=JobsAhead)  # that wait because the clock of the database was ahead
    left_queued: tuple[LeftQueued, ...] = ()  # jobs that this instance cannot do
    http_address: str = ""
    worker_outages: dict[int, tuple[str, float]] = field(default_factory=dict)
    admission: AdmissionView = field(default_factory=AdmissionView)
    permit_waits: tuple[PermitWait, ...] = ()
    lost_permits: tuple[LostPermit, ...] = ()
    silent_instances: tuple[SilentInstance, ...] = ()  # others that hold jobs and do nothing
    progress: ProgressView = field(default_factory=ProgressView)
    suspensions: Suspensions = field(default_factory=Suspensions)
    supervisor_pid: int = 0
    unknown_settings: tuple[UnknownVariable, ...] = ()  # of the environment of `start`
    database_address: str = ""  # role, host and database, without the password

    @property
    def waiting_jobs(self) -> int:
        """The queued jobs without those that this instance leaves queued, which are counted less often."""
        return max(0, self.stats.queued - sum(each.jobs for each in self.left_queued))

    def mark_connected(self, now_seconds: float) -> None:
        """Also resets the time of the last poll, so that the outage does not count as a database that does not answer."""
        self.is_connected, self.is_listening = True, not self.is_pooled
        self.outage, self.polled_at_seconds, self.lost_at_seconds = "", now_seconds, 0.0

    def mark_lost(self, outage: str, now_seconds: float, *, has_error_reply: bool) -> None:
        self.is_connected = self.is_listening = False
        self.lost_at_seconds = self.lost_at_seconds or now_seconds
        self.outage, self.has_error_reply = outage, has_error_reply

    def mark_worker_lost(self, slot: int, outage: str, now_seconds: float) -> None:
        self.worker_outages[slot] = outage, now_seconds

    def mark_worker_connected(self, slot: int) -> None:
        self.worker_outages.pop(slot, None)

    def set_http_address(self, address: str) -> None:
        """Address of /metrics. If the settings leave the port open, it is known only after the bind."""
        self.http_address = address
