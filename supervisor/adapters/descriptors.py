"""The open descriptors that the processes share, and the ones that each child keeps after the fork."""

import os
import socket

from worker.ipc.scoreboard import MAX_SLOTS


class Descriptors:
    """All descriptors, made once for the largest number of slots, so that a monitor can reach workers that start after it.

    They are plain numbers, because a child that collects an object would close its descriptor.
    """

    def __init__(self) -> None:
        self.lifeline_fd, self._lifeline_end_fd = os.pipe2(os.O_CLOEXEC)
        self.wake_fds = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(MAX_SLOTS)]
        pairs = [_pair(socket.SOCK_DGRAM) for _ in range(MAX_SLOTS)]
        self.event_read_fds, self.event_write_fds = [a for a, _ in pairs], [b for _, b in pairs]
        self.channel_fd, self.monitor_channel_fd = -1, -1
        self.token_fd = -1  # of the commands on this channel, see worker.ipc.channel

    def renew_channel(self) -> None:
        """Make a new channel for each monitor, so that no message of its predecessor reaches it."""
        self.drop_channel()
        self.channel_fd, self.monitor_channel_fd = _pair(socket.SOCK_SEQPACKET)
        self.token_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def drop_monitor_end(self) -> None:
        """Close the monitor's end in the supervisor, so that the channel ends when the monitor does."""
        os.close(self.monitor_channel_fd)
        self.monitor_channel_fd = -1

    def drop_channel(self) -> None:
        for fd in {self.channel_fd, self.token_fd} - {-1}:
            os.close(fd)
        self.channel_fd = self.token_fd = -1

    def not_for_worker(self, slot: int) -> set[int]:
        """Return all descriptors but the lifeline, the worker's wake-up and its end for events."""
        return self._all() - {self.lifeline_fd, self.wake_fds[slot], self.event_write_fds[slot]}

    def not_for_monitor(self) -> set[int]:
        return self._all() - {self.lifeline_fd, self.monitor_channel_fd, self.token_fd, *self.wake_fds, *self.event_read_fds}

    def _all(self) -> set[int]:
        single = {self.lifeline_fd, self._lifeline_end_fd, self.channel_fd, self.monitor_channel_fd, self.token_fd}
        return (single | {*self.wake_fds, *self.event_read_fds, *self.event_write_fds}) - {-1}


def _pair(kind: socket.SocketKind) -> tuple[int, int]:
    first, second = socket.socketpair(socket.AF_UNIX, kind)
    for end in (first, second):
        os.set_blocking(end.fileno(), False)
    return first.detach(), second.detach()
