"""What the monitor knows at the moment; what it serves is made from this and the scoreboard."""

from dataclasses import dataclass, field

from supervisor.monitor.ollama.view import AdmissionView
from worker.queue.backlog import StepBacklog
from worker.queue.polls import QueueStats


@dataclass(slots=True)
class MonitorState:
    """Written by the queue watch, and what workers tell of their connections by their events."""

    is_connected: bool = False
    is_listening: bool = False
    is_pooled: bool = False  # a transaction pooler is in between: nothing can be heard
    outage: str = "not connected yet"
    is_refused: bool = False  # the database itself said no: the outage is not one of server or network
    looked_at_seconds: float = 0.0
    stats: QueueStats = field(default_factory=QueueStats)
    backlog: StepBacklog = field(default_factory=StepBacklog)
    counted_at_seconds: float = float("-inf")
    http_address: str = ""
    loss: str = ""  # the class of what last broke a worker's connection: a read-only or full database breaks these alone
    lost_at_seconds: float = float("-inf")
    admission: AdmissionView = field(default_factory=AdmissionView)

    def connect(self, now_seconds: float) -> None:
        """The first answer on a new connection has come; that of before the outage is no reason any more to call it silent."""
        self.is_connected, self.is_listening = True, not self.is_pooled
        self.outage, self.looked_at_seconds = "", now_seconds

    def bound_to(self, address: str) -> None:
        """Where /metrics can be scraped; the port is known only now where the settings left it open."""
        self.http_address = address
