"""sd_notify(3) without a library: one datagram to the service manager's socket, never waiting for it."""

import socket

from supervisor.core.fleet import Fleet
from supervisor.notification import SentState, notification
from supervisor.settings.model import ServiceManager


class Notifier:
    """Tells what is new each time the loop comes round, so that a loop which is stuck falls silent.

    What a full or missing socket does not take is told the next time. The socket is opened anew for each message: there is
    nothing that a child could inherit.
    """

    def __init__(self, manager: ServiceManager | None) -> None:
        self._manager, self._told = manager, SentState()

    def tell(self, fleet: Fleet, now_seconds: float) -> None:
        if self._manager is None:
            return
        lines, known = notification(fleet, self._told, now_seconds, self._manager.watchdog_seconds)
        if not lines or _sent(self._manager.address, "\n".join(lines)):
            self._told = known


def _sent(address: str, message: str) -> bool:
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(message.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, target)
    except OSError:
        return False
    return True
