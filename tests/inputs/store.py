"""An object store on loopback with chosen answers, which records its requests."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Request(BaseHTTPRequestHandler):
    """One request of the worker, to be answered by a test."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


Answer = Callable[[Request], None]


@dataclass(slots=True)
class Store:
    url: str = ""
    answer: Answer = lambda request: request.answer(b"content")
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def start_store() -> Iterator[Store]:
    """Run the store for the block. It ends also while an answer is being written, because the worker has hung up by then."""
    store = Store()

    class Handler(Request):
        def do_GET(self) -> None:
            store.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            try:
                with contextlib.suppress(ConnectionError):
                    store.answer(self)
            finally:
                self.close_connection = True  # so that the end does not wait for a worker that keeps its connection

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
