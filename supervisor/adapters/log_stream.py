"""Writing log lines to stderr without ever waiting for who reads them."""

import os
import signal
import socket
import stat

MAX_LINE_BYTES = 2000  # below PIPE_BUF: a line is written whole or not at all


class LogStream:
    """A full or closed pipe drops lines and counts them; the count is told with the next line that gets through."""

    def __init__(self, fd: int = 2) -> None:
        _fill_standard_fds()
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None
        self._fd = fd if self._socket else _unblocked(fd)
        self._is_terminal = os.isatty(self._fd)
        self._dropped = 0

    def write(self, line: str) -> None:
        if self._dropped:
            line = f"{line} dropped_lines={self._dropped}"
        data = line.encode("utf-8", "replace")[:MAX_LINE_BYTES] + b"\n"
        try:
            if self._socket:
                self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            else:
                self._write(data)
        except OSError:
            self._dropped += 1
        else:
            self._dropped = 0

    def _write(self, data: bytes) -> None:
        """A terminal that lets no background process write would answer with SIGTTOU, which has another meaning here."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU} if self._is_terminal else ())
        try:
            os.write(self._fd, data)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fill_standard_fds() -> None:
    """What was closed before our start would be the number of the next pipe or socket, and the log would go there."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _unblocked(fd: int) -> int:
    """An open file of our own for the same pipe or terminal: O_NONBLOCK on the shared one would hit the shell as well."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return os.dup(fd)
