"""Names with several addresses, and names whose lookup hangs, as the clients of Ollama and of the object store meet them."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from supervisor.admission.facts import ListError, ListFailed, ModelsListed
from supervisor.monitor.ollama import server
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.settings.model import parse
from testkit.host_names import write_getent
from testkit.raw_server import Peer, raw_server, silent_address, status
from worker.documents.errors import StoreNameUnresolved, StoreUnreachable
from worker.documents.storage import Storage
from worker.ollama import client
from worker.ollama.api import TAGS
from worker.ollama.client import Ollama
from worker.ollama.errors import NameUnresolved, ServerUnreachable

LIST = status(200, b'{"models":[]}')
SILENT, HERE = "127.0.0.77", "127.0.0.1"


@pytest.fixture(autouse=True)
def getent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of a server with one address, with a silent address before its own, and with a silent one alone."""
    write_getent(tmp_path, here=(HERE,), second=(SILENT, HERE), refused=("127.0.0.78", HERE), never=(SILENT, SILENT))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def under(name: str, url: str) -> str:
    return f"http://{name}:{urlsplit(url).port}"


@pytest.mark.parametrize("name", ["here", "refused", "second"])
def test_a_worker_tries_each_address(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead first address takes its share of the time and no more. The request names the host and not its address."""
    monkeypatch.setattr(client, "LOOKUP_SECONDS", 2.0)
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.append(peer.request())
        peer.send(LIST)

    with raw_server(script) as url, silent_address(SILENT, urlsplit(url).port or 0):
        assert Ollama(under(name, url)).look_up(TAGS).models == ()
    assert f"Host: {name}:".encode() in seen[0]


def test_all_addresses_are_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request ends with its deadline, as for one dead address."""
    monkeypatch.setattr(client, "LOOKUP_SECONDS", 0.4)
    with raw_server() as url, silent_address(SILENT, urlsplit(url).port or 0), pytest.raises(ServerUnreachable) as raised:
        Ollama(under("never", url)).look_up(TAGS)
    assert type(raised.value) is ServerUnreachable


@pytest.mark.parametrize("name", ["hangs", "unknown"])
def test_a_worker_reports_a_name_that_is_not_resolved(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class of the error differs from that of a server that rejects the connection."""
    monkeypatch.setattr(client, "LOOKUP_SECONDS", 0.4)
    with pytest.raises(NameUnresolved):
        Ollama(f"http://{name}:1").look_up(TAGS)


@pytest.mark.parametrize("name", ["hangs", "unknown", "refused"])
def test_a_store_that_is_not_reached(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the object store, which has one time for lookup and download."""
    monkeypatch.setattr("worker.documents.storage.DOWNLOAD_SECONDS", 0.4)
    settings = {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://w@h/d", "SUPABASE_URL": f"http://{name}:9"}
    with pytest.raises(StoreUnreachable) as raised:
        Storage(parse(settings | {"SUPABASE_SERVICE_ROLE_KEY": "key"}).worker).page("submissions/a")
    assert isinstance(raised.value, StoreNameUnresolved) == (name != "refused")


def listed(url: str) -> ModelsListed | ListFailed:
    return asyncio.run(OllamaServer(url, 20).listed())


@pytest.mark.parametrize("name", ["here", "refused", "second"])
def test_the_monitor_tries_each_address(name: str) -> None:
    def script(peer: Peer) -> None:
        assert f"Host: {name}:".encode() in peer.request()
        peer.send(LIST)

    with raw_server(script) as url, silent_address(SILENT, urlsplit(url).port or 0):
        assert isinstance(listed(under(name, url)), ModelsListed)


@pytest.mark.parametrize("name", ["hangs", "unknown"])
def test_the_monitor_reports_a_name_that_is_not_resolved(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as a server that does not answer in time."""
    monkeypatch.setattr(server, "LIST_SECONDS", 0.4)
    found = listed(f"http://{name}:1")
    assert isinstance(found, ListFailed)
    assert found.why is ListError.UNRESOLVED
