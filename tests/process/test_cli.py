"""The commands as an operator runs them: what they print, and the exit codes that scripts and units go by."""

import json
import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest
from psycopg import sql

from testkit.database import url
from testkit.waiting import LIMIT_SECONDS, until
from tests.process.fleet import PROGRAM, PROJECT_ROOT
from tests.process.site import Site

pytestmark = pytest.mark.postgres

Result = subprocess.CompletedProcess[str]

OK, DEGRADED, USAGE, NOT_RUNNING, CONFIG = 0, 1, 2, 3, 78
INTERRUPTED_IMPORT = """
import os, signal, sys, weakref
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background it is ignored

class Interrupter:
    def find_spec(self, name, *_):
        if name == "click":
            object_of_an_import = Interrupter()
            callback = weakref.ref(object_of_an_import, lambda _: os.kill(os.getpid(), signal.SIGINT))
            del object_of_an_import

sys.meta_path.insert(0, Interrupter())
import supervisor.cli.main
"""


def run(site: Site, *arguments: str, **settings: str | float) -> Result:
    """A command with the site's settings, to its end. An empty setting counts as not given."""
    values = {name.upper(): str(value) for name, value in (site.settings() | settings).items()}
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT_ROOT), "COLUMNS": "200", **values}
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environ,
        cwd=site.directory,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def test_the_version_is_the_package_s(site: Site) -> None:
    """What is printed is what is installed."""
    assert version("learning-supervisor") in run(site, "--version").stdout


# start


def test_all_wrong_settings_are_told_at_once(site: Site) -> None:
    """Each with its variable, and nothing is started: no operator mends one to be told of the next."""
    wrong: dict[str, str | float] = {
        "worker_concurrency": 0,
        "ai_timeout_vision": "soon",
        "log_level": "LOUD",
        "learning_database_url": "",
    }
    result = run(site, "start", **wrong)
    assert result.returncode == CONFIG
    assert [name.upper() for name in wrong if name.upper() not in result.stderr] == []
    assert not (site.directory / "run").exists()


def test_a_service_role_in_the_dsn_is_refused_before_anything_starts(site: Site) -> None:
    """Its name is enough; the password is not shown."""
    result = run(site, "start", learning_database_url="postgresql://postgres:geheim@/learning")
    assert result.returncode == CONFIG
    assert "LEARNING_DATABASE_URL" in result.stderr
    assert "geheim" not in result.stderr + result.stdout


def test_a_superuser_under_another_name_is_refused_by_what_the_server_says(site: Site) -> None:
    """Whoever bypasses row security gets no worker: the supervisor ends with EX_CONFIG, and no job was touched."""
    site.enter_text()
    boss = f"{site.database.name}_boss"
    site.owner.execute(sql.SQL("create role {} superuser login").format(sql.Identifier(boss)))
    try:
        fleet = site.start(learning_database_url=url(site.database.admin_dsn, user=boss))
        assert fleet.exit_code() == CONFIG
    finally:
        site.owner.execute(sql.SQL("drop role {}").format(sql.Identifier(boss)))
    assert any(boss in line for line in fleet.log())
    assert [job["status"] for job in site.jobs()] == ["queued"]


def test_a_runtime_directory_that_others_may_write_is_refused(site: Site) -> None:
    """Locks and control sockets are nobody else's: EX_CONFIG, and the variable that would cure it."""
    public = site.directory / "public"
    public.mkdir()
    public.chmod(0o777)
    result = run(site, "start", runtime_directory=str(public))
    assert result.returncode == CONFIG
    assert "RUNTIME_DIRECTORY" in result.stderr


def test_a_runtime_directory_that_takes_nothing_is_refused(site: Site) -> None:
    """A path in which no socket has room, and a disk that is full: EX_CONFIG and the variable, and no traceback."""
    long = run(site, "start", runtime_directory=str(site.directory / ("x" * 100)))
    assert (long.returncode, "RUNTIME_DIRECTORY" in long.stderr) == (CONFIG, True)
    full = site.start(wrapper=("prlimit", "--fsize=0"), stderr=subprocess.PIPE)
    assert full.exit_code() == CONFIG
    assert full.process.stderr
    assert b"RUNTIME_DIRECTORY" in full.process.stderr.read()


def test_a_flag_wins_over_the_environment(site: Site) -> None:
    """`--procs` is how many workers there are, whatever WORKER_CONCURRENCY says."""
    fleet = site.start(wrapper=("sh", "-c", 'exec "$@" --procs 2', "sh"), worker_concurrency=1)
    fleet.until_idle()
    assert len(fleet.worker_pids()) == 2


def test_an_interrupt_during_the_imports_is_not_lost() -> None:
    """Python's own handler raises where the exception may be swallowed: then nobody would ever hear of the request to stop."""
    result = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], check=False, timeout=LIMIT_SECONDS)
    assert result.returncode == -signal.SIGINT


# status


def test_status_without_a_supervisor_says_so(site: Site) -> None:
    """Exit code 3, as systemctl's, also where a setting is wrong that it needs not; as JSON the list is empty."""
    told, asked = run(site, "status", worker_concurrency="eleven"), run(site, "status", "--json")
    assert (told.returncode, asked.returncode) == (NOT_RUNNING, NOT_RUNNING)
    assert "Not running" in told.stdout
    assert json.loads(asked.stdout) == {"instances": []}


def test_status_of_a_dead_supervisor_is_that_of_none(site: Site) -> None:
    """The socket that SIGKILL leaves behind deceives nobody."""
    fleet = site.start()
    fleet.until_idle()
    fleet.kill()
    assert list(fleet.runtime_directory.glob("*.sock")) != []
    assert run(site, "status").returncode == NOT_RUNNING


def test_status_tells_every_instance(site: Site) -> None:
    """Two supervisors in one runtime directory, uncut in 80 columns: 0 while all is well, and 1 as soon as one is not."""
    both = [site.start(worker_concurrency=2), site.start()]
    for fleet in both:
        fleet.until_state("ok")
    asked, told = run(site, "status", "--json"), run(site, "status", columns=80)
    assert (asked.returncode, told.returncode) == (OK, OK)
    assert "…" not in told.stdout
    assert {each["instance"] for each in json.loads(asked.stdout)["instances"]} == {f"{f.instance():08x}" for f in both}
    assert told.stdout.count("All is well") == 2
    site.shut_out()
    both[0].until_state("down")
    assert run(site, "status").returncode == DEGRADED


# check


def test_check_finds_nothing_on_a_good_database(site: Site) -> None:
    """Exit code 0, no line that fails, and nothing left in the runtime directory."""
    result = run(site, "check")
    assert result.returncode == OK, result.stdout
    assert not [line for line in result.stdout.splitlines() if line.startswith("failed")]
    assert list((site.directory / "run").iterdir()) == []


def test_check_says_what_an_empty_database_lacks(site: Site) -> None:
    """First the right to look into the schema, then both tables, each with what to do."""
    site.owner.execute("drop schema public cascade")
    site.owner.execute("create schema public")
    (failure,) = failures(run(site, "check"))
    assert "grant usage on schema public" in failure
    site.owner.execute("grant usage on schema public to learning_worker")
    submissions, jobs = failures(run(site, "check"))
    assert ("learning_submissions" in submissions, "learning_submission_jobs" in jobs) == (True, True)
    assert ("migrations" in submissions, "migrations" in jobs) == (True, True)


def test_check_says_what_a_role_may_not(site: Site) -> None:
    """A right, a function and the index that are missing are each told with what to do."""
    site.owner.execute("revoke delete on learning_submission_jobs from learning_worker")
    site.owner.execute("drop function learning_worker_mark_retry")
    site.owner.execute("drop index learning_submission_jobs_by_visibility")
    right, function, index = failures(run(site, "check"))
    assert "grant delete on learning_submission_jobs" in right
    assert "learning_worker_mark_retry" in function
    assert "create it" in index


def failures(result: Result) -> list[str]:
    assert (result.returncode, result.stderr) == (DEGRADED, "")
    return [line for line in result.stdout.splitlines() if line.startswith("failed")]


def test_check_tells_a_database_that_is_not_there(site: Site) -> None:
    """One line says that nobody answers, without a traceback or a password."""
    dsn = url(site.database.worker_dsn, host=str(site.directory), password="geheim")
    (failure,) = failures(run(site, "check", learning_database_url=dsn))
    assert "LEARNING_DATABASE_URL" in failure
    assert "geheim" not in failure


def test_check_says_what_the_model_server_lacks(site: Site) -> None:
    """A model that nobody has pulled, by its name and with how to get it; a server that is not there, by its address."""
    (missing,) = failures(run(site, "check", ai_vision_model="nobody-has:this"))
    assert ("ollama pull nobody-has:this" in missing, "AI_VISION_MODEL" in missing) == (True, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    (unreachable,) = failures(run(site, "check", ollama_base_url=address))
    assert [word in unreachable for word in ("ServerUnreachable", address, "OLLAMA_BASE_URL")] == [True, True, True]


def test_check_refuses_wrong_settings_as_start_does(site: Site) -> None:
    """Exit code 78 and the variable's name."""
    result = run(site, "check", worker_lease_seconds=0)
    assert (result.returncode, "WORKER_LEASE_SECONDS" in result.stderr) == (CONFIG, True)


# Orders


def test_scale_says_what_it_has_done(site: Site) -> None:
    """One more worker is there, and a number that cannot be is the command line's fault."""
    fleet = site.start()
    fleet.until_idle()
    done, refused = run(site, "scale", "2"), run(site, "scale", "65")
    assert (done.returncode, done.stdout) == (OK, "2 workers from now on; nobody is interrupted in a job.\n")
    assert refused.returncode == USAGE
    until(lambda: len(fleet.worker_pids()) == 2)


def test_recycle_says_what_it_has_done(site: Site) -> None:
    """All without a number, one with it, and none in a slot that has no worker."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    before = fleet.worker_pids()
    missing = run(site, "recycle", "0", "5")
    assert (missing.returncode, missing.stderr) == (DEGRADED, "Refused: no worker in slot 5.\n")
    one = run(site, "recycle", "1")
    assert (one.returncode, "worker 1" in one.stdout) == (OK, True)
    fleet.until_replaced([before[1]])
    both = run(site, "recycle")
    assert (both.returncode, "all 2 workers" in both.stdout) == (OK, True)
    fleet.until_replaced(before)


def test_reload_says_what_is_wrong(site: Site) -> None:
    """0 and what happens now, or 78 and the variable's name."""
    settings = site.directory / ".env"
    settings.write_text("AI_TIMEOUT_VISION=31\n")
    site.start().until_idle()
    right = run(site, "reload")
    settings.write_text("AI_TIMEOUT_VISION=soon\n")
    wrong = run(site, "reload")
    assert (right.returncode, "The settings are right, and go to 1 worker" in right.stdout) == (OK, True)
    assert (wrong.returncode, "Wrong: AI_TIMEOUT_VISION." in wrong.stderr) == (CONFIG, True)


def test_an_order_without_a_supervisor_says_so(site: Site) -> None:
    """Exit code 3, as of status."""
    for order in (["scale", "2"], ["recycle"], ["reload"]):
        result = run(site, *order)
        assert (result.returncode, "Not running" in result.stderr) == (NOT_RUNNING, True)


def test_an_order_among_several_instances_needs_a_name(site: Site) -> None:
    """Neither is changed without one; with one, only that."""
    both = [site.start(), site.start()]
    for fleet in both:
        fleet.until_idle()
    nobody = run(site, "scale", "2")
    assert (nobody.returncode, nobody.stderr.count(both[0].status()["instance"])) == (USAGE, 1)
    assert run(site, "scale", "2", "--instance", both[1].status()["instance"]).returncode == OK
    until(lambda: len(both[1].worker_pids()) == 2)
    assert len(both[0].worker_pids()) == 1
    assert run(site, "scale", "2", "--instance", "0badcafe").returncode == NOT_RUNNING
