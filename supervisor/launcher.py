"""The entry point of every child, worker or monitor, with the resources that it inherits across the fork."""

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
from worker.queue.host_permits import process_name


@dataclass(frozen=True, slots=True)
class ChildLauncher:
    """Resources shared by all children, and the code that they run after the fork."""

    settings_versions: SettingsVersions
    instance: Instance
    scoreboard: Scoreboard
    descriptors: Descriptors
    event_log: EventLog

    def preload(self) -> None:
        """Import the workers' libraries before the first fork, so that all workers share their memory."""
        worker_main.preload()

    def run_child(self, slot: int, incarnation: int, generation: int) -> int:
        """Run the child of this slot with the settings of its generation, and return its exit code."""
        processes.die_with(self.descriptors.lifeline_fd)
        settings = self.settings_versions.of(generation)
        if slot == MONITOR:
            self.instance.unlock_in_monitor()
            return monitor_main.run(self._monitor_wiring(incarnation), settings, self.event_log)
        processes.rename(process_name(incarnation))
        self.instance.lock_in_worker()
        memory_bytes = settings.supervisor.worker_memory_hard_bytes
        return worker_main.run(self._worker_wiring(slot, incarnation, memory_bytes), settings.worker, settings.exported)

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
            token_fd=self.descriptors.token_fd,
            lifeline_fd=self.descriptors.lifeline_fd,
            wake_fds=self.descriptors.wake_fds,
            event_fds=self.descriptors.event_read_fds,
            directory=self.instance.directory,
            control_socket=self.instance.control_socket,
        )
