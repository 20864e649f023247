"""An OpenAI-compatible server of a provider, in a thread of the test: it answers, limits, fails or is silent."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


@dataclass(frozen=True, slots=True)
class Reply:
    """`is_silent`: the reply never comes. A reply with a `status` other than 200 has no content."""

    content: str = ""
    status: int = 200
    retry_after: str = ""
    is_silent: bool = False
    usage: dict[str, int] | None = field(default_factory=lambda: dict(USAGE))


LIMITED, SILENT = Reply(status=429), Reply(is_silent=True)


@dataclass
class Provider:
    """`next_replies` are used up one by one, then `reply` is given to every request."""

    url: str = ""
    reply: Reply = field(default_factory=lambda: Reply("a feedback"))
    next_replies: deque[Reply] = field(default_factory=deque)
    prompts: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def answer(self, *replies: Reply | str) -> None:
        """Set the next replies. A text is the content of one."""
        self.next_replies.extend(Reply(each) if isinstance(each, str) else each for each in replies)

    def taken(self, prompt: str) -> Reply:
        """Note a request and return its reply."""
        self.prompts.append(prompt)
        reply = self.next_replies.popleft() if self.next_replies else self.reply
        if reply.is_silent:
            self._end.wait()
        return reply

    def end(self) -> None:
        self._end.set()


@contextmanager
def provider() -> Iterator[Provider]:
    """Run a server for the length of the block."""
    state = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            _send(self, state.taken(body["messages"][0]["content"]))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        state.end()
        server.shutdown()
        server.server_close()


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    document = {"choices": [{"message": {"content": reply.content}}], "usage": reply.usage}
    content = json.dumps(document).encode() if reply.status == 200 else b""
    try:
        handler.send_response(reply.status)
        if reply.retry_after:
            handler.send_header("Retry-After", reply.retry_after)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
    except OSError:  # the client has ended
        pass
