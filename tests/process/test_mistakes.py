"""Mistakes of an administrator: each one gets a line `failed` in `check` that names the thing and the remedy."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from testkit.database import url
from testkit.live_fleet import PROJECT_ROOT
from testkit.object_store import SERVICE_KEY, Request, start_store
from testkit.site import FEEDBACK_MODEL, Site, photo
from testkit.submissions import BUCKET
from testkit.supervisor_process import run_command
from testkit.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.postgres

READY, FAILED, CONFIG = 0, 1, 78
DSN = "postgresql://worker:Wald7haus@db/platform"

# settings alone: all of them are tried by one process

CHECK_EACH = """
import json, os, sys
from pathlib import Path
from click.testing import CliRunner
from supervisor.cli.main import main
for environment, text in json.load(sys.stdin):
    Path("service.env").write_text(text)
    result = CliRunner().invoke(main, ["check", "--env-file", "service.env"], env={"COLUMNS": "1000", **environment})
    print(json.dumps([result.exit_code, result.output]))
"""


@dataclass(frozen=True)
class Mistake:
    """Lines of a settings file, after a database and a backend, and the beginning of the failed line with its remedy."""

    file: str
    line: str
    remedy: str
    environment: Mapping[str, str] = field(default_factory=dict)
    has_backend: bool = True


SETTINGS = {
    "a misspelled number of workers": Mistake("WORKER_CONCURENCY=4", "WORKER_CONCURENCY", "did you mean WORKER_CONCURRENCY?"),
    "a misspelled backend": Mistake("AI_BACKED=local", "AI_BACKED", "did you mean AI_BACKEND?"),
    "no backend": Mistake("", "AI_BACKEND=(unset)", "write local for real feedback by Ollama, or stub", has_backend=False),
    "a backend that does not exist": Mistake("AI_BACKEND=ollama", "AI_BACKEND", "allowed: stub, local", has_backend=False),
    "a misspelled word": Mistake("AI_BACKEND=lokal", "AI_BACKEND=lokal", "did you mean local?", has_backend=False),
    "a backend in quotes": Mistake("", "AI_BACKEND", "remove them", {"AI_BACKEND": '"local"'}, has_backend=False),
    "words in another order": Mistake("AI_FEEDBACK_TIMEOUT=60", "AI_FEEDBACK_TIMEOUT", "did you mean AI_TIMEOUT_FEEDBACK?"),
    "a name in lower case": Mistake("ollama_num_parallel=2", "ollama_num_parallel", "did you mean OLLAMA_NUM_PARALLEL?"),
    "a name without an underscore": Mistake("LOGLEVEL=DEBUG", "LOGLEVEL", "did you mean LOG_LEVEL?"),
    "a misspelled store": Mistake("SUPABSE_URL=https://x.example", "SUPABSE_URL", "did you mean SUPABASE_URL?"),
    "a setting twice": Mistake("AI_NUM_CTX=8192\nAI_NUM_CTX=4096", "AI_NUM_CTX", "is set 2 times, in lines 3, 4"),
    "a colon for =": Mistake("AI_NUM_CTX: 8192", "line 3", "is no assignment: write NAME=value"),
    "a name alone": Mistake("AI_NUM_CTX", "line 3", "write NAME=value"),
    "gigabytes without the unit": Mistake("OLLAMA_MEMORY_LIMIT=8", "OLLAMA_MEMORY_LIMIT=8", "add the unit, such as 8MB or 8GB"),
    "a limit in words": Mistake("OLLAMA_MEMORY_LIMIT=half", "OLLAMA_MEMORY_LIMIT=half", "give a size such as 8G"),
    "a low water above the limit": Mistake(
        "OLLAMA_MEMORY_LIMIT=8GB\nOLLAMA_MEMORY_LOW_WATER=9GB",
        "OLLAMA_MEMORY_LOW_WATER=9GB",
        "give less than OLLAMA_MEMORY_LIMIT",
    ),
    "a share of another host": Mistake(
        "OLLAMA_MEMORY_LIMIT=80%\nOLLAMA_BASE_URL=http://ollama:11434", "OLLAMA_MEMORY_LIMIT=80%", "give bytes, such as 8G"
    ),
    "a worker's memory without the unit": Mistake("WORKER_MEMORY_HARD_BYTES=1024", "WORKER_MEMORY_HARD_BYTES", "such as 1024MB"),
    "an upload in megabytes": Mistake("LEARNING_MAX_UPLOAD_BYTES=20", "LEARNING_MAX_UPLOAD_BYTES=20", "such as 20MB"),
    "milliseconds": Mistake("AI_TIMEOUT_VISION=30000", "AI_TIMEOUT_VISION=30000", "is too large (allowed: 1 to 300)"),
    "a unit that does not exist": Mistake("AI_TIMEOUT_VISION=2 turns", "AI_TIMEOUT_VISION", "give a duration such as 45s or 5m"),
    "a decimal comma": Mistake("WORKER_POLL_INTERVAL=0,5", "WORKER_POLL_INTERVAL=0,5", "give a duration such as 45s"),
    "half a worker": Mistake("WORKER_CONCURRENCY=1.5", "WORKER_CONCURRENCY=1.5", "give a whole number (allowed: 1 to 64)"),
    "no worker": Mistake("WORKER_CONCURRENCY=0", "WORKER_CONCURRENCY=0", "is too small"),
    "a boolean in German": Mistake("DATABASE_POOLED=ja", "DATABASE_POOLED=ja", "allowed: auto, true, false"),
    "no scheme": Mistake("OLLAMA_BASE_URL=localhost:11434", "OLLAMA_BASE_URL=localhost:11434", "give an http URL"),
    "Ollama on another host": Mistake(
        "OLLAMA_BASE_URL=http://10.0.0.7:11434", "OLLAMA_BASE_URL", "loopback host or a service name"
    ),
    "the path of another API": Mistake("OLLAMA_BASE_URL=http://localhost:11434/v1", "OLLAMA_BASE_URL", "without a path"),
    "a model with a blank": Mistake("AI_VISION_MODEL=qwen 2.5", "AI_VISION_MODEL=qwen 2.5", "as `ollama list` prints it"),
    "an adapter's file": Mistake("LEARNING_VISION_ADAPTER=/srv/ocr.py", "LEARNING_VISION_ADAPTER", "name of a Python module"),
    "a relative root": Mistake(
        "STORAGE_VERIFY_ROOT=files", "STORAGE_VERIFY_ROOT=files", "give the path from the root directory on"
    ),
    "a root of the home": Mistake("STORAGE_VERIFY_ROOT=~/files", "STORAGE_VERIFY_ROOT=~/files", "from the root directory on"),
    "a bucket with a path": Mistake("LEARNING_STORAGE_BUCKET=a/b", "LEARNING_STORAGE_BUCKET=a/b", "the name of the bucket alone"),
    "a store without its key": Mistake("SUPABASE_URL=https://x.example", "SUPABASE_SERVICE_ROLE_KEY", "set both or neither"),
    "a store without TLS": Mistake(
        "SUPABASE_URL=http://x.example\nSUPABASE_SERVICE_ROLE_KEY=k", "SUPABASE_URL", "give an https URL"
    ),
    "a store with a path": Mistake(
        "SUPABASE_URL=https://x.example/storage/v1\nSUPABASE_SERVICE_ROLE_KEY=k", "SUPABASE_URL", "without a path"
    ),
    "a public status page": Mistake("STATUS_ADDR=0.0.0.0:9464", "STATUS_ADDR=0.0.0.0:9464", "give a loopback address and a port"),
    "a port alone": Mistake("STATUS_ADDR=9464", "STATUS_ADDR=9464", "such as 127.0.0.1:9464"),
    "an @ in the password": Mistake(
        "", "LEARNING_DATABASE_URL=***", "%40 for @", {"LEARNING_DATABASE_URL": "postgresql://w:a@Wald7haus@h/d"}
    ),
    "another database": Mistake(
        "", "LEARNING_DATABASE_URL=***", "give a PostgreSQL address", {"LEARNING_DATABASE_URL": "mysql://w:p@h/d"}
    ),
    "SQLAlchemy's scheme": Mistake(
        "", "LEARNING_DATABASE_URL=***", "give a PostgreSQL address", {"LEARNING_DATABASE_URL": "postgresql+psycopg://w:p@h/d"}
    ),
    "a port in letters": Mistake(
        "", "LEARNING_DATABASE_URL=***", "its port is no number", {"LEARNING_DATABASE_URL": "postgresql://w:p@h:543O/d"}
    ),
    "the administrator's role": Mistake(
        "",
        "LEARNING_DATABASE_URL=***",
        "use the worker's own restricted role",
        {"LEARNING_DATABASE_URL": "postgresql://postgres:p@h/d"},
    ),
    "a certificate that is not there": Mistake(
        "",
        "LEARNING_DATABASE_URL=***",
        "/no/ca.pem cannot be read",
        {"LEARNING_DATABASE_URL": DSN + "?sslmode=verify-full&sslrootcert=/no/ca.pem"},
    ),
    "two windows for one model": Mistake(
        "AI_VISION_MODEL=gemma3\nAI_FEEDBACK_MODEL=gemma3\nAI_NUM_CTX_VISION=8192\nAI_NUM_CTX_FEEDBACK=4096",
        "AI_NUM_CTX_FEEDBACK=4096",
        "give the option the same value for both",
    ),
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and output of `check` for each mistake in the settings, all by one process."""
    directory = tmp_path_factory.mktemp("mistakes")
    cases = [(dict(each.environment), _file_of(each)) for each in SETTINGS.values()]
    result = subprocess.run(
        [sys.executable, "-c", CHECK_EACH],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT_ROOT)},
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return {name: (code, output) for name, (code, output) in zip(SETTINGS, lines, strict=True)}


def _file_of(mistake: Mistake) -> str:
    """The first two lines are right, so that the mistake is the only one."""
    return f"LEARNING_DATABASE_URL={DSN}\n{'AI_BACKEND=stub' if mistake.has_backend else '#'}\n{mistake.file}\n"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_mistake_in_the_settings_is_one_failed_line(checked: dict[str, tuple[int, str]], name: str) -> None:
    """With code 78, the setting, and the remedy, and without any part of a password."""
    code, output = checked[name]
    (line,) = output.splitlines()
    assert code == CONFIG
    assert line.startswith(f"failed  {SETTINGS[name].line}"), line
    assert SETTINGS[name].remedy in line
    assert "Wald7haus" not in line


# surroundings: each is tried by a whole `check`


@dataclass(frozen=True)
class Fault:
    """A mistake in the surroundings: how it is made, and the only failed line. It returns changed settings by name."""

    make: Callable[[Site], dict[str, object]]
    line: str
    remedy: str


def files_at(path: str) -> Callable[[Site], dict[str, object]]:
    def make(site: Site) -> dict[str, object]:
        return {"storage_verify_root": site.directory / path}

    return make


def setting(**values: object) -> Callable[[Site], dict[str, object]]:
    return lambda _: values


def a_file_for_a_root(site: Site) -> dict[str, object]:
    (site.directory / "file").touch()
    return {"storage_verify_root": site.directory / "file"}


def the_bucket_itself(site: Site) -> dict[str, object]:
    (site.storage_root / "submissions").mkdir(parents=True)
    return {"storage_verify_root": site.storage_root / "submissions"}


def an_empty_root(site: Site) -> dict[str, object]:
    """As of a disk that is not mounted, while a picture waits."""
    site.enter(photo())
    (site.directory / "empty").mkdir()
    return {"storage_verify_root": site.directory / "empty"}


def an_empty_bucket(site: Site) -> dict[str, object]:
    site.enter(photo())
    (site.directory / "other/submissions").mkdir(parents=True)
    return {"storage_verify_root": site.directory / "other"}


def another_disk(site: Site) -> dict[str, object]:
    """With files, but not those that wait."""
    site.enter(photo())
    (site.directory / "other/submissions/course").mkdir(parents=True)
    return {"storage_verify_root": site.directory / "other"}


def links_out_of_the_root(site: Site) -> dict[str, object]:
    """With a bucket that is a link to another disk, which no worker follows."""
    site.enter(photo())
    (site.directory / "linked").mkdir()
    (site.directory / "linked" / BUCKET).symlink_to(site.storage_root / BUCKET)
    return {"storage_verify_root": site.directory / "linked"}


def a_taken_port(site: Site) -> dict[str, object]:
    listener = site.undo.enter_context(socket.create_server(("127.0.0.1", 0)))
    return {"status_addr": f"127.0.0.1:{listener.getsockname()[1]}"}


def no_program(_: Site) -> dict[str, object]:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return {"ollama_base_url": f"http://127.0.0.1:{closed.getsockname()[1]}"}


def another_program(site: Site) -> dict[str, object]:
    store = site.undo.enter_context(start_store(lambda request: request.answer(b"<html>")))
    return {"ollama_base_url": store.url}


def a_module(text: str) -> Callable[[Site], dict[str, object]]:
    def make(site: Site) -> dict[str, object]:
        (site.directory / "odd.py").write_text(text)
        return {"learning_feedback_adapter": "odd", "pythonpath": f"{site.directory}:{PROJECT_ROOT}"}

    return make


def a_thread(site: Site) -> dict[str, object]:
    """As the agent of a monitoring tool starts one."""
    text = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    (site.directory / "sitecustomize.py").write_text(text)
    return {"pythonpath": f"{site.directory}:{PROJECT_ROOT}"}


def dropped(statement: str) -> Callable[[Site], dict[str, object]]:
    def make(site: Site) -> dict[str, object]:
        site.owner.execute(statement.encode())
        return {}

    return make


def database(**parts: str) -> Callable[[Site], dict[str, object]]:
    return lambda site: {"learning_database_url": url(site.database.worker_dsn, **parts)}


FAULTS = {
    "no storage at all": Fault(
        setting(storage_verify_root=""), "files of submissions", "set STORAGE_VERIFY_ROOT or SUPABASE_URL"
    ),
    "a missing root": Fault(files_at("nowhere"), "STORAGE_VERIFY_ROOT", "does not exist"),
    "a file for a root": Fault(a_file_for_a_root, "STORAGE_VERIFY_ROOT", "is not a directory"),
    "the bucket for the root": Fault(
        the_bucket_itself, "STORAGE_VERIFY_ROOT", "is the bucket itself: name the directory above it"
    ),
    "a root that is not mounted": Fault(an_empty_root, "STORAGE_VERIFY_ROOT", "has no directory submissions"),
    "an empty bucket": Fault(an_empty_bucket, "STORAGE_VERIFY_ROOT", "its directory submissions is empty, but pictures wait"),
    "another disk": Fault(another_disk, "files of 1 waiting submission", "1 cannot be read ("),
    "a bucket that is a link": Fault(links_out_of_the_root, "files of 1 waiting submission", "1 cannot be read (key_refused)"),
    "a taken port": Fault(a_taken_port, "STATUS_ADDR", "is in use by another program"),
    "no Ollama": Fault(no_program, "Ollama at http://127.0.0.1", "start Ollama, or correct OLLAMA_BASE_URL"),
    "another program for Ollama": Fault(another_program, "Ollama at http://127.0.0.1", "another program answers there"),
    "a model for pages that cannot see them": Fault(
        setting(ai_vision_model=FEEDBACK_MODEL), f"model {FEEDBACK_MODEL} cannot see pictures", "set AI_VISION_MODEL to a vision"
    ),
    "a model that is not pulled": Fault(setting(ai_vision_model="nobody:has"), "model nobody:has", "ollama pull nobody:has"),
    "a missing adapter": Fault(
        setting(learning_feedback_adapter="no.such"), "adapter module no.such", "LEARNING_FEEDBACK_ADAPTER"
    ),
    "an adapter with a wrong kind": Fault(
        setting(learning_feedback_adapter="worker.adapters.vision"),
        "adapter module worker.adapters.vision",
        "no method `analyze`",
    ),
    "an adapter that raises": Fault(
        a_module("def build(): raise KeyError('x')"), "adapter module odd: KeyError", "LEARNING_FEEDBACK"
    ),
    "an adapter that crashes": Fault(a_module("import os\nos.abort()"), "adapter module odd", "(signal 6): a worker would crash"),
    "an adapter that leaves": Fault(a_module("import os\nos._exit(3)"), "adapter module odd", "(exit code 3)"),
    "a thread before the fork": Fault(a_thread, "threads before the first fork", "remove what starts it at the start of Python"),
    "a missing table": Fault(
        dropped("drop table learning_submission_jobs cascade"), "table learning_submission_jobs", "does not exist"
    ),
    "a missing function": Fault(
        dropped("drop function learning_worker_mark_retry"), "function learning_worker_mark_retry", "create it"
    ),
    "a role that does not exist": Fault(database(user="nobody", password="geheim7x"), "database", "the role is missing"),
    "a database that does not exist": Fault(database(dbname="nowhere"), "database", "create the database"),
    "a server that does not run": Fault(database(host="127.0.0.1", port="9"), "database", "check host, port and the options"),
}


# the object store


def replying(status: int, content: bytes = b"{}", **headers: str) -> Callable[[Request], None]:
    return lambda request: request.answer(content, status, **headers)


def platform_store(request: Request) -> None:
    """The platform's store: every refusal is a 400 with the code inside."""
    if request.headers["apikey"] != SERVICE_KEY:
        return request.answer(b'{"statusCode": "403", "error": "Unauthorized", "message": "jwt malformed"}', 400)
    if request.path != "/storage/v1/bucket/submissions":
        return request.answer(b'{"statusCode": "404", "error": "Bucket not found"}', 400)
    return request.answer(b'{"id": "submissions", "name": "submissions", "public": false}')


def no_reply(request: Request) -> None:
    request.connection.close()


STORES = {
    "a wrong key": (platform_store, {"supabase_service_role_key": "eyJhbGciOi"}, "the key is rejected"),
    "a wrong bucket": (
        platform_store,
        {"learning_storage_bucket": "uploads"},
        "has no bucket uploads: correct LEARNING_STORAGE_BUCKET",
    ),
    "a key with a line break": (platform_store, {"supabase_service_role_key": "a\nb"}, "characters that no key has"),
    "a key with an umlaut": (platform_store, {"supabase_service_role_key": "schlüssel"}, "characters that no key has"),
    "TLS at a plain port": (platform_store, {"supabase_url": "https"}, "its certificate is rejected"),
    "401": (replying(401), {}, "the key is rejected"),
    "404": (replying(404), {}, "has no bucket submissions"),
    "a redirect": (replying(301, Location="/elsewhere"), {}, "redirects to another address (301)"),
    "an error": (replying(503), {}, "answers 503: read the store's log"),
    "a web page": (replying(200, b"<html>"), {}, "not as an object store: correct SUPABASE_URL"),
    "no reply": (no_reply, {}, "no usable reply"),
}


@pytest.mark.parametrize(("answer", "changes", "remedy"), STORES.values(), ids=STORES.keys())
def test_a_mistake_about_the_object_store_is_a_failed_line(
    site: Site, answer: Callable[[Request], None], changes: dict[str, str], remedy: str
) -> None:
    """Address, certificate, key and bucket are tried. Neither the key nor the store's own words are shown."""
    with start_store(answer) as store:
        values = {"storage_verify_root": "", "supabase_url": store.url, "supabase_service_role_key": SERVICE_KEY, **changes}
        if changes.get("supabase_url"):
            values["supabase_url"] = store.url.replace("http:", "https:")
        result = check(site, values)
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("failed")]
    assert (result.returncode, line.startswith("failed  object store http"), remedy in line) == (FAILED, True, True), line
    assert not any(word in result.stdout for word in (values["supabase_service_role_key"], "jwt malformed"))


@contextmanager
def self_signed(directory: Path) -> Iterator[str]:
    """A server on loopback whose certificate no authority has signed. The value is its URL."""
    names = ("-keyout", directory / "key.pem", "-out", directory / "cert.pem")
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", *names)
    subprocess.run(request, capture_output=True, check=True, timeout=LIMIT_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands() -> None:
            with suppress(OSError):  # the client rejects the certificate
                context.wrap_socket(listener.accept()[0], server_side=True)

        thread = threading.Thread(target=shake_hands)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_no_authority_has_signed_is_a_failed_line(site: Site) -> None:
    """OpenSSL's reason is shown, because it tells an expired certificate from a wrong name."""
    with self_signed(site.directory) as address:
        result = check(site, {"storage_verify_root": "", "supabase_url": address, "supabase_service_role_key": SERVICE_KEY})
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("failed")]
    assert "its certificate is rejected (self" in line, line


def test_a_store_in_order_is_told(site: Site) -> None:
    """Its bucket is named, and a waiting picture is read from it."""
    site.enter(photo())

    def answer(request: Request) -> None:
        if request.path.startswith("/storage/v1/bucket"):
            return platform_store(request)
        (file,) = [path for path in site.storage_root.rglob("*") if path.is_file()]
        return request.answer(file.read_bytes())

    with start_store(answer) as store:
        values = {"storage_verify_root": "", "supabase_url": store.url, "supabase_service_role_key": SERVICE_KEY}
        result = check(site, values)
    assert result.returncode == READY, result.stdout
    assert f"ok      object store {store.url}, bucket submissions" in result.stdout
    assert "ok      files of 1 waiting submission" in result.stdout


# the settings file, the port of a running instance, a trial that hangs, another account

SECRET = "LEARNING_DATABASE_URL=postgresql://worker:geheim7x@db/platform\n"
MODES = {
    "readable by others": (SECRET, 0o644, "other users can read its secrets: run `chmod 600"),
    "writable by the group": (SECRET, 0o620, "other users can change it: run `chmod 600"),
    "writable by others": ("LOG_LEVEL=INFO\n", 0o646, "other users can change it"),
    "private": (SECRET, 0o600, ""),
    "for a group": (SECRET, 0o640, ""),
    "without a secret": ("LOG_LEVEL=INFO\n", 0o644, ""),
}


@pytest.mark.parametrize(("text", "mode", "remedy"), MODES.values(), ids=MODES.keys())
def test_a_settings_file_that_others_can_use_is_a_failed_line(site: Site, text: str, mode: int, remedy: str) -> None:
    (file := site.directory / ".env").write_text(text)
    file.chmod(mode)
    failed = [line for line in check(site, {}).stdout.splitlines() if line.startswith("failed")]
    assert len(failed) == bool(remedy)
    assert all(line.startswith("failed  settings file .env") and remedy in line for line in failed)


def test_the_port_of_the_running_instance_is_in_order(site: Site) -> None:
    """`check` is also run beside the service."""
    fleet = site.start()
    fleet.until_idle()
    address = fleet.status()["metrics_address"]
    result = check(site, {"status_addr": address})
    assert (result.returncode, f"STATUS_ADDR {address}, served by the running instance" in result.stdout) == (READY, True)


def test_a_misspelled_variable_of_the_environment_is_a_warning(site: Site) -> None:
    """`check` still ends with code 0, because the environment belongs to other programs too."""
    result = check(site, {"worker_concurency": 4})
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("warning") and "WORKER" in line]
    assert result.returncode == READY
    assert "WORKER_CONCURENCY in the environment: is no setting and has no effect: did you mean WORKER_CONCURRENCY?" in line


HANGING_TRIAL = """
import time
from supervisor.cli.child import findings_of
def trial():
    time.sleep(600)
    yield
(finding,) = findings_of(trial, "the disk", None, timeout_seconds=0.3)
print(finding.level.value, finding.subject, finding.remedy)
"""


def test_a_trial_that_hangs_is_a_failed_line() -> None:
    """As on the disk of a server that does not answer: the child is killed."""
    result = subprocess.run(
        [sys.executable, "-c", HANGING_TRIAL], capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS
    )
    assert result.stdout.startswith("failed the disk has not ended within 0 s: look for a disk")


@pytest.mark.second_tier
@pytest.mark.skipif(os.getuid() != 0, reason="only root can try with the rights of another account")
def test_root_tries_with_the_rights_of_the_service(site: Site) -> None:
    """The owner of the settings file is the account of the service. It may not read a root that root may read."""
    (file := site.directory / ".env").write_text("LOG_LEVEL=INFO\n")
    shutil.chown(file, "nobody")
    file.chmod(0o600)
    site.directory.chmod(0o711)
    site.storage_root.mkdir(exist_ok=True)
    site.storage_root.chmod(0o700)
    failed = [line for line in check(site, {}).stdout.splitlines() if line.startswith("failed")]
    assert [line for line in failed if "STORAGE_VERIFY_ROOT" in line and "cannot be read by the user of the service" in line], (
        failed
    )


def check(site: Site, values: Mapping[str, object], *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {name.upper(): str(value) for name, value in {**site.settings(), **values}.items()}
    return run_command(site.directory, {"COLUMNS": "1000", **settings}, "check", *arguments)


@pytest.mark.unreadable
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_mistake_in_the_surroundings_is_a_failed_line(site: Site, fault: Fault) -> None:
    """With code 1, the thing and the remedy. No traceback is printed, and the password is in no line."""
    result = check(site, fault.make(site))
    failed = [line for line in result.stdout.splitlines() if line.startswith("failed")]
    assert (result.returncode, "Traceback" in result.stdout + result.stderr) == (FAILED, False), result.stderr
    assert any(line.startswith(f"failed  {fault.line}") and fault.remedy in line for line in failed), result.stdout
    assert len(failed) == 1 or fault.line.startswith("threads"), failed
    assert "geheim7x" not in result.stdout + result.stderr
