"""An object store on loopback, with the HTTP interface of the platform's store. A test chooses the answers."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

SERVICE_KEY = "geheimer-dienstschluessel"
PREFIX, BUCKET_PREFIX = "/storage/v1/object/", "/storage/v1/bucket/"
GIGABYTE = 2**30
_CHUNK = bytes(2**16)


class Request(BaseHTTPRequestHandler):
    """One request of a worker."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.head(status, **{"Content_Length": str(len(content))} | headers)
        self.wfile.write(content)

    def head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


Answer = Callable[[Request], None]


@dataclass(slots=True)
class Store:
    """`requests` are the paths and headers of all requests."""

    url: str = ""
    answer: Answer = lambda request: request.answer(b"content")
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def start_store(answer: Answer | None = None, port: int = 0) -> Iterator[Store]:
    """Run a store for the length of the block. The end does not wait for connections that workers keep open."""
    store = Store() if answer is None else Store(answer=answer)

    class Handler(Request):
        def do_GET(self) -> None:
            store.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            try:
                with suppress(ConnectionError):  # the worker has read enough
                    store.answer(self)
            finally:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def files_below(root: Path, faults: Mapping[str, str]) -> Answer:
    """Serve the files below `root`, and whether a bucket is there. `faults` by storage key: redirect, flood, announced flood."""

    def answer(request: Request) -> None:
        key = unquote(request.path.removeprefix(PREFIX).removeprefix(BUCKET_PREFIX))
        if (request.headers["apikey"], request.headers["Authorization"]) != (SERVICE_KEY, f"Bearer {SERVICE_KEY}"):
            return request.answer(b"", 401)
        if request.path.startswith(BUCKET_PREFIX):
            return request.answer(b"{}", 200 if (root / key).is_dir() else 404)
        match faults.get(key, ""):
            case "redirect":
                return request.answer(b"", 302, Location=f"{PREFIX}elsewhere")
            case "flood":
                return _flood(request)
            case "announced flood":
                return _flood(request, Content_Length=str(GIGABYTE))
        return _send_file(request, root / key)

    return answer


def _send_file(request: Request, path: Path) -> None:
    if not path.is_file():
        return request.answer(b"", 404)
    request.head(200, Content_Length=str(path.stat().st_size))
    with path.open("rb") as file:
        shutil.copyfileobj(file, request.wfile)
    return None


def _flood(request: Request, **headers: str) -> None:
    """Send a gigabyte."""
    request.head(200, **headers)
    for _ in range(GIGABYTE // len(_CHUNK)):
        request.wfile.write(_CHUNK)
