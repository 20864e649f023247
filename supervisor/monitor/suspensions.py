"""Workers whose process is stopped, as by SIGSTOP, a debugger or a frozen container: they continue after SIGCONT alone."""

from collections.abc import Collection
from pathlib import Path

_STOPPED = frozenset({b"T", b"t"})  # proc_pid_stat(5): by a signal, by a tracer


class Suspensions:
    """Sampled each second, by pid. Written by the progress watch."""

    def __init__(self) -> None:
        self._since_seconds: dict[int, float] = {}  # first sample of the stopped ones
        self._seen_at_seconds: dict[int, float] = {}  # last sample at which a process was stopped

    def sample(self, pids: Collection[int], now_seconds: float) -> None:
        stopped = [pid for pid in pids if _is_stopped(pid)]
        self._since_seconds = {pid: self._since_seconds.get(pid, now_seconds) for pid in stopped}
        seen = {pid: at_seconds for pid, at_seconds in self._seen_at_seconds.items() if pid in pids}
        self._seen_at_seconds = {**seen, **dict.fromkeys(stopped, now_seconds)}

    def since_seconds(self, pid: int) -> float | None:
        """Return since when the process has been stopped, None if it runs."""
        return self._since_seconds.get(pid)

    def began_seconds(self, pid: int, start_seconds: float) -> float:
        """Return the start of a call as far as the model's silence counts: not before the process continued."""
        return max(start_seconds, self._seen_at_seconds.get(pid, 0.0))


def _is_stopped(pid: int) -> bool:
    """Report the state at this moment. It is the first field after the name, which may contain any sign."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # it has ended
        return False
    return stat.rpartition(b")")[2].split()[0] in _STOPPED
