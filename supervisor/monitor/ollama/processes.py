"""Ollama's processes on this host: the server, and one runner for each model that it has loaded."""

import psutil

SEARCH_SECONDS = 10.0  # a scan of all processes takes about 10 ms. Runners are children of the server and are listed each time
SERVER_NAME = "ollama"


class OllamaProcesses:
    """Processes of the server on `port`. Also of every Ollama whose sockets are not readable for this user."""

    def __init__(self, port: int) -> None:
        self._port, self._searched_at_seconds = port, float("-inf")
        self._servers: list[psutil.Process] = []

    def pids(self, now_seconds: float) -> frozenset[int]:
        return frozenset(process.pid for process in self._family(now_seconds))

    def size_bytes(self, now_seconds: float) -> int | None:
        """Memory of all of them, None if there is none. Takes 4 ms a GiB if the kernel lets us count shared pages once."""
        sizes = [size for process in self._family(now_seconds) if (size := _size_bytes(process)) is not None]
        return sum(sizes) if sizes else None

    def _family(self, now_seconds: float) -> list[psutil.Process]:
        if now_seconds >= self._searched_at_seconds + SEARCH_SECONDS:
            self._searched_at_seconds = now_seconds
            self._servers = [process for process in psutil.process_iter() if self._is_server(process)]
        return list(dict.fromkeys(each for server in self._servers for each in _with_children(server)))

    def _is_server(self, process: psutil.Process) -> bool:
        try:
            if process.name() != SERVER_NAME:
                return False
            sockets = process.net_connections(kind="tcp")
        except psutil.AccessDenied:
            return True
        except (psutil.Error, OSError):
            return False
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == self._port for each in sockets)


def _with_children(server: psutil.Process) -> list[psutil.Process]:
    try:
        return [server, *server.children(recursive=True)] if server.is_running() else []
    except (psutil.Error, OSError):
        return []


def _size_bytes(process: psutil.Process) -> int | None:
    """The proportional set size, which counts shared pages once. The resident set size if access to it is denied."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        pass
    except (psutil.Error, OSError):
        return None
    try:
        return int(process.memory_info().rss)
    except (psutil.Error, OSError):
        return None
