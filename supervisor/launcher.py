"""The entry point of every child: a worker or the monitor, with what it inherits across the fork."""

from dataclasses import dataclass

from supervisor.adapters import processes
from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.instance import Instance
from supervisor.core.fleet import MONITOR
from supervisor.event_log import EventLog
from supervisor.monitor import main as monitor_main
from supervisor.settings.versions import SettingsVersions
from worker import main as worker_main
from worker.ipc.contract import Wiring
from worker.ipc.scoreboard import Scoreboard


@dataclass(frozen=True, slots=True)
class ChildLauncher:
    """What every child is forked from."""

    settings_versions: SettingsVersions
    instance: Instance
    scoreboard: Scoreboard
    descriptors: Descriptors
    journal: EventLog

    def preload(self) -> None:
        """Imports before the first fork what all workers share, so that its memory is taken once."""
        worker_main.preload()

    def run_child(self, slot: int, incarnation: int, generation: int) -> int:
        """What a forked process does, by its slot and with the settings of its generation; its exit code."""
        processes.die_with(self.descriptors.lifeline_fd)
        settings = self.settings_versions.of(generation)
        if slot == MONITOR:
            return monitor_main.run(self._monitor_wiring(incarnation), settings, self.journal)
        memory_bytes = settings.supervisor.worker_memory_hard_bytes
        return worker_main.run(self._worker_wiring(slot, incarnation, memory_bytes), settings.worker)

    def _worker_wiring(self, slot: int, incarnation: int, memory_bytes: int) -> Wiring:
        return Wiring(
            slot=slot,
            instance=self.instance.number,
            incarnation=incarnation,
            scoreboard=self.scoreboard,
            wake_fd=self.descriptors.wake_fds[slot],
            event_fd=self.descriptors.event_write_fds[slot],
            lifeline_fd=self.descriptors.lifeline_fd,
            memory_bytes=memory_bytes,
        )

    def _monitor_wiring(self, incarnation: int) -> monitor_main.MonitorWiring:
        return monitor_main.MonitorWiring(
            instance=self.instance.number,
            incarnation=incarnation,
            scoreboard=self.scoreboard,
            channel_fd=self.descriptors.monitor_channel_fd,
            lifeline_fd=self.descriptors.lifeline_fd,
            wake_fds=self.descriptors.wake_fds,
            event_fds=self.descriptors.event_read_fds,
            directory=self.instance.directory,
            control_socket=self.instance.control_socket,
        )
