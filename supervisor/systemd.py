"""sd_notify(3) without a library: non-blocking datagrams to the service manager's socket."""

import socket

from supervisor.core.fleet import Fleet
from supervisor.notification import SentState, notification
from supervisor.settings.model import ServiceManager


class Notifier:
    """Sends changes of the service's state, and the watchdog's sign of life, in each turn of the loop.

    A loop that hangs sends none, so the service manager restarts the service. What a full or missing socket did not accept is
    sent again in the next turn. Each message opens the socket anew, so that no child inherits it.
    """

    def __init__(self, manager: ServiceManager | None) -> None:
        self._manager, self._sent = manager, SentState()

    def notify(self, fleet: Fleet, now_seconds: float) -> None:
        if self._manager is None:
            return
        lines, sent = notification(fleet, self._sent, now_seconds, self._manager.watchdog_seconds)
        if not lines or _send(self._manager.address, "\n".join(lines)):
            self._sent = sent


def _send(address: str, message: str) -> bool:
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(message.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, target)
    except OSError:
        return False
    return True
