"""Log lines on stderr, written without waiting for the reader."""

import os
import signal
import socket
import stat

MAX_LINE_BYTES = 2000  # below PIPE_BUF: a line is written whole or not at all


class LogStream:
    """A non-blocking stream of lines. It drops and counts lines while the pipe is full, and adds the count to the next line."""

    def __init__(self, fd: int = 2) -> None:
        fill_standard_fds()
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
        """Write with SIGTTOU blocked: a terminal may send it to background processes, and here it would remove a worker."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU} if self._is_terminal else ())
        try:
            os.write(self._fd, data)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fill_standard_fds() -> None:
    """Open closed standard descriptors, or the next pipe or socket would get their number and receive the log."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _unblocked(fd: int) -> int:
    """Open the same pipe or terminal again, because O_NONBLOCK on the inherited open file would affect the shell too."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return os.dup(fd)
