"""The platform's object store, as far as a worker sees it: one object to each key, and some that misbehave."""

import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

SERVICE_KEY = "geheimer-dienstschluessel"
PREFIX = "/storage/v1/object/"
GIGABYTE = 2**30
_CHUNK = bytes(2**16)


class Store(ThreadingHTTPServer):
    """`store_faults` says what happens to a request for a storage key: redirect, flood or announced flood."""

    daemon_threads = True

    def __init__(self, root: Path, store_faults: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.store_faults = root, store_faults


class Handler(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        key = unquote(self.path.removeprefix(PREFIX))
        if (self.headers["apikey"], self.headers["Authorization"]) != (SERVICE_KEY, f"Bearer {SERVICE_KEY}"):
            self.send_error(401)
            return
        try:
            self._answer(self.server.store_faults.get(key, ""), self.server.root / key)
        except OSError:
            self.close_connection = True  # the reader has had enough

    def _answer(self, fault: str, path: Path) -> None:
        match fault:
            case "redirect":
                self._head(302, Location=f"{PREFIX}elsewhere")
            case "flood":
                self._flood()
            case "announced flood":
                self._flood(**{"Content-Length": str(GIGABYTE)})
            case _ if path.is_file():
                self._head(200, **{"Content-Length": str(path.stat().st_size)})
                with path.open("rb") as file:
                    shutil.copyfileobj(file, self.wfile)
            case _:
                self.send_error(404)

    def _flood(self, **headers: str) -> None:
        self._head(200, **headers)
        for _ in range(GIGABYTE // len(_CHUNK)):
            self.wfile.write(_CHUNK)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@contextmanager
def object_store(root: Path, store_faults: Mapping[str, str]) -> Iterator[str]:
    """Its base URL."""
    with Store(root, store_faults) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{store.server_port}"
        store.shutdown()
