"""The open descriptors that processes share, and who keeps which across a fork."""

import os
import socket

from worker.ipc.scoreboard import MAX_SLOTS


class Descriptors:
    """Made once, for as many slots as there may ever be, so that a monitor knows every worker however late it comes.

    All are plain numbers: an object would close its number again when a child collects it.
    """

    def __init__(self) -> None:
        self.lifeline_fd, self._lifeline_end_fd = os.pipe2(os.O_CLOEXEC)
        self.wake_fds = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(MAX_SLOTS)]
        pairs = [_pair(socket.SOCK_DGRAM) for _ in range(MAX_SLOTS)]
        self.event_read_fds, self.event_write_fds = [a for a, _ in pairs], [b for _, b in pairs]
        self.channel_fd, self.monitor_channel_fd = -1, -1

    def renew_channel(self) -> None:
        """Each monitor gets a channel of its own: no answer of a predecessor can reach it."""
        self.drop_channel()
        self.channel_fd, self.monitor_channel_fd = _pair(socket.SOCK_SEQPACKET)

    def drop_monitor_end(self) -> None:
        """The monitor holds it alone, so that its death is seen."""
        os.close(self.monitor_channel_fd)
        self.monitor_channel_fd = -1

    def drop_channel(self) -> None:
        if self.channel_fd >= 0:
            os.close(self.channel_fd)
            self.channel_fd = -1

    def not_for_worker(self, slot: int) -> set[int]:
        """Everything but the lifeline, its own wake-up and its own end for events."""
        return self._all() - {self.lifeline_fd, self.wake_fds[slot], self.event_write_fds[slot]}

    def not_for_monitor(self) -> set[int]:
        return self._all() - {self.lifeline_fd, self.monitor_channel_fd, *self.wake_fds, *self.event_read_fds}

    def _all(self) -> set[int]:
        single = {self.lifeline_fd, self._lifeline_end_fd, self.channel_fd, self.monitor_channel_fd}
        return (single | {*self.wake_fds, *self.event_read_fds, *self.event_write_fds}) - {-1}


def _pair(kind: socket.SocketKind) -> tuple[int, int]:
    first, second = socket.socketpair(socket.AF_UNIX, kind)
    for end in (first, second):
        os.set_blocking(end.fileno(), False)
    return first.detach(), second.detach()
