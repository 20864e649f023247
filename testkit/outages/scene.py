"""The parts of one lane: database with its proxy, simulator and store with theirs, files, and a fleet of two workers."""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import DictRow, dict_row

from testkit.database import Database, create_database, drop_database, url
from testkit.environment import Value
from testkit.host_names import DATABASE, MODEL_SERVER, OBJECT_STORE, HostNames, NoCompiler
from testkit.live_fleet import PROGRAM, LiveFleet
from testkit.object_store import SERVICE_KEY, files_below, start_store
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.outages.database_proxy import DatabaseProxy, database_proxy
from testkit.outages.http_proxy import HttpProxy, http_proxy
from testkit.outages.plan import SHORT_WAITS, Site
from testkit.outages.schoolbook import Schoolbook
from testkit.supervisor_process import as_variables
from testkit.waiting import until

WORKERS: Final = 2
BOOT_SECONDS: Final = 90.0
ANSWER_SECONDS: Final = 2.0
ROOT_WITHOUT_RIGHTS: Final = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Root reads every file. Without these two capabilities it meets the rights of a file as any user does."""


@dataclass(slots=True)
class Scene:
    """`fleet` is replaced after a case that it has not survived in good health."""

    site: Site
    is_long: bool
    directory: Path
    database: Database
    owner: psycopg.Connection[DictRow]
    simulator: SimulatorProcess
    model_server: HttpProxy
    store: HttpProxy
    database_server: DatabaseProxy
    book: Schoolbook
    names: HostNames | None
    fleet: LiveFleet | None = None
    _fleets: int = 0

    @property
    def root(self) -> Path:
        return self.book.storage_root

    def running(self) -> LiveFleet:
        """Return the fleet, started and idle."""
        if self.fleet is None:
            self._fleets += 1
            wrapper = ROOT_WITHOUT_RIGHTS if os.geteuid() == 0 else ()
            program = (*wrapper, PROGRAM)
            self.fleet = LiveFleet.spawn(self._environ(), self.directory, program=program, log_path=self._log_path)
            until(self.is_idle, BOOT_SECONDS, "an idle fleet")
        return self.fleet

    def end_fleet(self) -> None:
        """Kill the fleet. The next case starts another one."""
        if self.fleet is not None:
            self.fleet.kill()
        self.fleet = None

    def keep_log(self, path: Path) -> None:
        """Copy the log of the last fleet, which ends with the scene."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._log_path, path)

    def status(self) -> dict[str, Any]:
        """Return the status document, empty if no monitor answers."""
        found = next(iter(sorted(self._runtime.glob("*.sock"))), None)
        return _document(found) if found else {}

    def is_idle(self) -> bool:
        status = self.status()
        return bool(status) and status["queue"]["is_listening"] and {each["activity"] for each in status["workers"]} == {"idle"}

    @property
    def _runtime(self) -> Path:
        return self.directory / f"run{self._fleets}"

    @property
    def _log_path(self) -> Path:
        return self.directory / f"fleet{self._fleets}.log"

    def _environ(self) -> dict[str, str]:
        own: dict[str, Value] = {
            "ai_backend": "local",
            "learning_database_url": self.database_server.dsn,
            "ollama_base_url": self.model_server.url,
            "ollama_num_parallel": WORKERS,
            "runtime_directory": self._runtime,
            "status_addr": "127.0.0.1:0",
            "worker_concurrency": WORKERS,
            **({} if self.is_long else SHORT_WAITS),
        }
        if self.site is Site.TURNS:
            own["ollama_max_loaded_models"] = 1
        if self.site is not Site.STORE:
            own["storage_verify_root"] = self.root
            return as_variables(own)
        own |= {"supabase_url": self.store.url, "supabase_service_role_key": SERVICE_KEY}
        if self.names:
            own |= self.names.environ
            own["learning_database_url"] = url(self.database_server.dsn, host=DATABASE)
            own["ollama_base_url"] = _named(self.model_server.url, MODEL_SERVER)
            own["supabase_url"] = _named(self.store.url, OBJECT_STORE)
        return as_variables(own)


@contextmanager
def open_scene(admin_dsn: str, site: Site, number: int, seed: int, *, is_long: bool) -> Iterator[Scene]:
    """Open the parts of a lane. Its processes end with the block, or with the thread that entered it."""
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix=f"outages{number}-")))
        root = directory / "files"
        root.mkdir()
        database = create_database(admin_dsn)
        undo.callback(drop_database, admin_dsn, database)
        owner = undo.enter_context(psycopg.connect(database.admin_dsn, autocommit=True, row_factory=dict_row))
        simulator = undo.enter_context(start_simulator(**_simulated(site)))
        store = undo.enter_context(start_store(files_below(root, {})))
        scene = Scene(
            site=site,
            is_long=is_long,
            directory=directory,
            database=database,
            owner=owner,
            simulator=simulator,
            model_server=undo.enter_context(http_proxy(simulator.url)),
            store=undo.enter_context(http_proxy(store.url)),
            database_server=undo.enter_context(database_proxy(database.worker_dsn)),
            book=Schoolbook(database, owner, root, seed),
            names=_names(directory) if site is Site.STORE else None,
        )
        scene.book.prepare()
        undo.callback(scene.end_fleet)
        yield scene


def _simulated(site: Site) -> Mapping[str, Any]:
    most = {"max_loaded_models": 1} if site is Site.TURNS else {}
    return {"num_parallel": WORKERS, "tokens_per_second": 2000, "load_seconds": 0.05, "vision_seconds": 0.1, **most}


def _names(directory: Path) -> HostNames | None:
    with suppress(NoCompiler):
        return HostNames.build(directory / "names")
    return None


def _named(address: str, name: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=f"{name}:{parts.port}").geturl()


def _document(path: Path) -> dict[str, Any]:
    """Ask for the document with few instructions, because every lane asks several times a second."""
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as control:
        control.settimeout(ANSWER_SECONDS)
        control.connect(str(path))
        control.sendall(b"GET /status HTTP/1.0\r\nHost: instance\r\n\r\n")
        received = b"".join(iter(lambda: control.recv(65_536), b""))
        document = json.loads(received.partition(b"\r\n\r\n")[2])
        return document if isinstance(document, dict) and "state" in document else {}
    return {}
