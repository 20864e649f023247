"""Cases of scripts/outages with a real fleet: the command plays the whole matrix, these are its quickest.

The other tests let the parts of the matrix fail and show that a request meets it.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import httpx
import psycopg
import pytest

from testkit.database import Database
from testkit.object_store import SERVICE_KEY, files_below, start_store
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.outages.case_run import EARLIER, LATER, play
from testkit.outages.database_proxy import DatabaseProxy, database_proxy
from testkit.outages.file_faults import root_fault
from testkit.outages.http_proxy import HttpProxy, http_proxy
from testkit.outages.matrix import WAYS, Case, Length, Moment, Request, Way
from testkit.outages.plan import QUICK_SECONDS, Site
from testkit.outages.scene import Scene, open_scene
from testkit.outages.verdict import is_right, totals
from testkit.site import FEEDBACK_MODEL, VISION_MODEL
from testkit.supervisor_process import PROJECT_ROOT
from testkit.waiting import until

pytestmark = pytest.mark.postgres

QUICKEST = (
    Case(Request.DATABASE, Way.NO_LOGIN, Length.MEDIUM, Moment.MIDDLE),
    Case(Request.SETTLE, Way.SILENT, Length.MEDIUM, Moment.LAST),
    Case(Request.LEASE, Way.RESET, Length.MEDIUM, Moment.FIRST),
    Case(Request.FEEDBACK, Way.STATUS_503, Length.MEDIUM, Moment.MIDDLE),
    Case(Request.PS, Way.GARBAGE, Length.MEDIUM, Moment.LAST),
)


@pytest.fixture(scope="module")
def scene(cluster_dsn: str) -> Iterator[Scene]:
    with open_scene(cluster_dsn, Site.ROOT, 0, 0, is_long=False) as opened:
        yield opened


@pytest.mark.parametrize("case", QUICKEST, ids=lambda case: case.name)
def test_an_outage_costs_no_submission_and_no_attempt(scene: Scene, case: Case) -> None:
    """The fleet meets the fault, and afterwards every submission is completed with one call for each step."""
    figures = play(scene, case, QUICK_SECONDS[case.length])
    assert (figures.was_met, figures.problem, figures.wrong_status) == (True, "", ())
    assert figures.calls_answered >= len(EARLIER[case.moment]) + len(LATER[case.moment])
    assert is_right({**totals([figures]), "recovery_p95_s": 0})  # the time depends on what else this machine does


# The proxy before a server


@pytest.fixture
def proxy(fleets_simulator: SimulatorProcess) -> Iterator[HttpProxy]:
    with http_proxy(fleets_simulator.url) as before:
        yield before


def asked(proxy: HttpProxy, request: Request) -> httpx.Response:
    """Send one request of this kind."""
    model = FEEDBACK_MODEL if request is Request.FEEDBACK else VISION_MODEL
    body = {
        Request.SHOW: ("/api/show", {"model": model}),
        Request.PRELOAD: ("/api/generate", {"model": model, "prompt": ""}),
        Request.UNLOAD: ("/api/generate", {"model": model, "prompt": "", "keep_alive": 0}),
        Request.VISION: ("/api/generate", {"model": model, "prompt": "a", "stream": False, "options": {"num_predict": 1}}),
        Request.FEEDBACK: ("/api/chat", {"model": model, "messages": [{"role": "user", "content": "a"}], "stream": False}),
    }
    with httpx.Client(base_url=proxy.url, trust_env=False, timeout=5) as client:
        if request in body:
            path, content = body[request]
            return client.post(path, json=content)
        return client.get({Request.TAGS: "/api/tags", Request.PS: "/api/ps"}.get(request, "/api/version"))


SINGLE = (Request.TAGS, Request.PS, Request.SHOW, Request.PRELOAD, Request.UNLOAD, Request.VISION, Request.FEEDBACK)


@pytest.mark.parametrize("request_", SINGLE, ids=lambda request: request.word)
def test_only_the_chosen_request_fails_and_only_for_a_while(proxy: HttpProxy, request_: Request) -> None:
    """One kind of request gets the error, all others and all later ones their answers."""
    proxy.begin(request_, Way.STATUS_500)
    assert [each for each in SINGLE if asked(proxy, each).status_code == 500] == [request_]
    proxy.end()
    assert proxy.met == 1
    assert asked(proxy, request_).status_code == 200


@pytest.mark.parametrize("way", WAYS[Request.MODEL_SERVER], ids=lambda way: way.word)
def test_a_server_fails_in_this_way(proxy: HttpProxy, way: Way) -> None:
    """Each way is what a client sees of it."""
    proxy.begin(Request.MODEL_SERVER, way)
    errors = {
        Way.REFUSED: httpx.ConnectError,
        Way.RESET: httpx.ReadError,
        Way.CUT: httpx.RemoteProtocolError,
        Way.SILENT: httpx.ReadTimeout,
    }
    if way in errors:
        with pytest.raises(errors[way]), httpx.Client(trust_env=False, timeout=0.3) as client:
            client.get(f"{proxy.url}/api/tags")
    else:
        reply = asked(proxy, Request.TAGS)
        statuses = {Way.STATUS_500: 500, Way.STATUS_503: 503, Way.STATUS_429: 429, Way.RETRY_AFTER: 429}
        assert reply.status_code == statuses.get(way, 200)
        assert ("retry-after" in reply.headers) == (way is Way.RETRY_AFTER)
        with pytest.raises(ValueError) if way is Way.GARBAGE else nullcontext():
            reply.json()
    proxy.end()
    assert asked(proxy, Request.TAGS).json()["models"]


def test_a_model_that_is_not_installed_is_in_no_list(proxy: HttpProxy) -> None:
    """Requests that name it get 404, the lists have only the other one, whose calls are answered."""
    proxy.begin(Request.VISION, Way.STATUS_404)
    assert [each["name"] for each in asked(proxy, Request.TAGS).json()["models"]] == [FEEDBACK_MODEL]
    statuses = {each: asked(proxy, each).status_code for each in (Request.VISION, Request.PRELOAD, Request.FEEDBACK)}
    assert statuses == {Request.VISION: 404, Request.PRELOAD: 404, Request.FEEDBACK: 200}


@pytest.mark.parametrize("way", [Way.STATUS_403, Way.STATUS_404, Way.PAGE, Way.REDIRECT], ids=lambda way: way.word)
def test_a_store_fails_in_this_way(tmp_path: Path, way: Way) -> None:
    """The store's own replies: refused rights, a missing bucket, a page of another server and a redirect."""
    (tmp_path / "a").write_bytes(b"content")
    with start_store(files_below(tmp_path, {})) as store, http_proxy(store.url) as before:
        headers = {"apikey": SERVICE_KEY, "Authorization": f"Bearer {SERVICE_KEY}"}
        url = f"{before.url}/storage/v1/object/a"
        before.begin(Request.STORE, way)
        reply = httpx.get(url, headers=headers, trust_env=False)
        assert reply.status_code == {Way.STATUS_403: 403, Way.STATUS_404: 404, Way.REDIRECT: 302}.get(way, 200)
        assert reply.content != b"content"
        before.end()
        assert httpx.get(url, headers=headers, trust_env=False).content == b"content"


# The proxy before the database


@pytest.fixture
def database_server(database: Database) -> Iterator[DatabaseProxy]:
    with database_proxy(database.worker_dsn) as before:
        yield before


POLL = "select true as is_waiting, 1 as a"


@pytest.mark.parametrize("is_prepared", [False, True])
@pytest.mark.parametrize("way", [Way.RESET, Way.LOST], ids=lambda way: way.word)
def test_one_statement_meets_the_fault(database_server: DatabaseProxy, way: Way, *, is_prepared: bool) -> None:
    """Other statements pass. The connection of the chosen one ends, also if its text was prepared before the fault."""
    with psycopg.connect(database_server.dsn, autocommit=True) as client:
        client.execute(POLL, prepare=is_prepared)
        database_server.begin(Request.POLL, way)
        assert client.execute("select 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            client.execute(POLL, prepare=is_prepared)
    assert database_server.met == 1
    database_server.end()
    with psycopg.connect(database_server.dsn) as client:
        client.execute(POLL)


def test_a_silent_statement_is_answered_after_the_fault(database_server: DatabaseProxy) -> None:
    """The network holds the statement back and passes it on at the end."""
    with psycopg.connect(database_server.dsn, autocommit=True) as client, ThreadPoolExecutor() as other:
        database_server.begin(Request.POLL, Way.SILENT)
        answer = other.submit(lambda: client.execute(POLL).fetchone())
        until(lambda: database_server.met)
        assert not answer.done()
        database_server.end()
        assert answer.result() == (True, 1)


def test_a_database_that_refuses_accepts_again(database_server: DatabaseProxy) -> None:
    """The kernel refuses the connection, as it does where no server listens."""
    database_server.begin(Request.DATABASE, Way.REFUSED)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", database_server.port))
    database_server.end()
    psycopg.connect(database_server.dsn).close()


# The storage root


@pytest.mark.parametrize("way", [Way.MISSING, Way.EMPTY, Way.NO_DIRECTORY], ids=lambda way: way.word)
def test_a_root_fails_in_this_way(tmp_path: Path, way: Way) -> None:
    """The files cannot be read while the root fails, and are there again afterwards."""
    root = tmp_path / "files"
    root.mkdir()
    (root / "a").write_bytes(b"content")
    with root_fault(root, way):
        assert (root.exists(), root.is_dir()) == {
            Way.MISSING: (False, False),
            Way.EMPTY: (True, True),
            Way.NO_DIRECTORY: (True, False),
        }[way]
        with pytest.raises(OSError):
            (root / "a").read_bytes()
    assert (root / "a").read_bytes() == b"content"


# The command


@pytest.mark.second_tier
def test_the_command_prints_its_figures() -> None:
    """One JSON object with the figures and the cases that were not met, and exit code 0 if every goal is reached."""
    command = [sys.executable, "-m", "testkit.outages", "--json", "--only", "lease/reset/120s/*"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=120)
    found = json.loads(done.stdout)
    assert (done.returncode, found["cases"], found["wrong"], found["not_met"]) == (0, 1, [], [])
    assert {"failed_wrongly", "attempts_burnt_wrongly", "calls_wasted", "recovery_p95_s", "status_wrong"} < found.keys()
