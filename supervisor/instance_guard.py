"""Keeps a running instance in its runtime directory, so that its leases are found after its death."""

from supervisor.adapters.instance import Instance
from supervisor.adapters.runtime_directory import RuntimeDirectoryError
from supervisor.event_log import EventLog


class InstanceGuard:
    """Restores the lock file in each turn of the loop if it was removed. A reason why that is impossible is logged once."""

    def __init__(self, instance: Instance, event_log: EventLog) -> None:
        self._instance, self._event_log = instance, event_log
        self._reason = ""

    def check(self) -> None:
        try:
            is_restored = self._instance.restore()
        except RuntimeDirectoryError as error:
            if str(error) != self._reason:
                self._event_log.runtime_directory_lost(reason=str(error))
            self._reason = str(error)
            return
        self._reason = ""
        if is_restored:
            self._event_log.runtime_directory_restored(path=self._instance.directory)
