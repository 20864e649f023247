"""Answers that arrive in the instant of a deadline: a whole answer or a timeout, and never another request's answer."""

import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from testkit.raw_server import END, HEAD, Peer, content_line, done, raw_server
from testkit.waiting import until
from worker.ollama import errors
from worker.ollama.client import ChatRequest, Ollama
from worker.ollama.deadline import Deadline
from worker.ollama.repetition import DOCUMENT_CHARACTERS

DEADLINE_SECONDS = 0.006
LONG_SECONDS = 15.0
QUESTION = ChatRequest("chain", (), {}, 256, DOCUMENT_CHARACTERS)
NUMBER = re.compile(rb"round-(\d+)-")
TIMEOUTS = (errors.ServerUnreachable, errors.FirstTokenTimeout, errors.TokenTimeout, errors.AnswerTimeout)
Parts = Callable[[bytes], tuple[bytes, ...]]


def delay_seconds(number: int, rounds: int) -> float:
    """From four fifths of the deadline to six fifths: sleeps last some 0.1 ms longer, so both outcomes happen."""
    return DEADLINE_SECONDS * (0.8 + 0.4 * number / rounds)


def delayed(rounds: int, before: Parts, after: Parts) -> Callable[[Peer], None]:
    """Answer each request of a connection with its own number, the part `after` after the delay of its round."""

    def script(peer: Peer) -> None:
        while found := NUMBER.search(peer.request()):
            peer.send(*before(found[1]))
            time.sleep(delay_seconds(int(found[1]), rounds))
            peer.send(*after(found[1]))

    return script


PARTS: dict[str, tuple[Parts, Parts, bool]] = {
    "first token": (lambda _n: (HEAD,), lambda n: (content_line(n.decode()), done(), END), False),
    "last line": (lambda n: (HEAD, content_line(n.decode())), lambda _n: (done(), END), True),
    "end of the body": (lambda n: (HEAD, content_line(n.decode()), done()), lambda _n: (END,), True),
}


@pytest.mark.parametrize("rounds", [100, pytest.param(2_000, marks=pytest.mark.second_tier)])
@pytest.mark.parametrize(("before", "after", "is_end"), PARTS.values(), ids=PARTS.keys())
def test_an_answer_in_the_instant_of_its_deadline(rounds: int, before: Parts, after: Parts, *, is_end: bool) -> None:
    """Each request has its own answer or a timeout, and a connection with a rest in it is not used again."""
    with raw_server(*[delayed(rounds, before, after)] * rounds) as url:
        client = Ollama(url)
        for number in range(rounds):
            now_seconds = time.monotonic()
            request = replace(QUESTION, messages=({"role": "user", "content": f"round-{number}-"},))
            soon, late = now_seconds + DEADLINE_SECONDS, now_seconds + LONG_SECONDS
            deadline = Deadline(soon, late, LONG_SECONDS) if is_end else Deadline(late, soon, LONG_SECONDS)
            try:
                answer = client.chat(request, deadline).text
            except TIMEOUTS:
                continue
            assert answer == str(number)
        client._http.close()  # else the server would wait for another request on the kept connection


@pytest.mark.parametrize("leaves_by_reset", [False, True])
@pytest.mark.parametrize("part", [b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nround"])
def test_a_client_that_leaves_in_its_request_ends_its_connection_alone(part: bytes, *, leaves_by_reset: bool) -> None:
    """A deadline can end a request after its head. The server of these tests then serves the next connection."""
    served: list[bytes] = []
    with raw_server(*[lambda peer: served.append(peer.request())] * 2) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address) as client:
            client.sendall(part)
            if leaves_by_reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with socket.create_connection(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            until(lambda: b"GET / HTTP/1.1\r\n\r\n" in served)
