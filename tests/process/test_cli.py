"""The commands as an operator runs them: output and exit codes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from shutil import chown, rmtree
from tempfile import gettempdir, mkdtemp

import pytest
from click.testing import CliRunner
from psycopg import sql

import supervisor.cli.main
from supervisor.adapters.runtime_directory import user_name
from testkit.database import YEARS, Year, temporary_database, url
from testkit.live_fleet import PROGRAM, PROJECT_ROOT
from testkit.site import Site
from testkit.supervisor_process import COMMAND_SECONDS, run_command
from testkit.waiting import until
from tests.terminal import assert_fits
from tests.tiers import in_two_tiers

Result = subprocess.CompletedProcess[str]

OK, DEGRADED, REJECTED, USAGE, NOT_RUNNING, UNKNOWN, NO_PERMISSION, CONFIG = 0, 1, 1, 2, 3, 75, 77, 78
AS_ANOTHER_USER = """
import os, pwd, httpx, rich.table
from supervisor.cli.main import main
os.chdir("/")
os.setgroups([])
os.setgid(pwd.getpwnam("{user}").pw_gid)
os.setuid(pwd.getpwnam("{user}").pw_uid)
main()
"""
INTERRUPTED_IMPORT = """
import os, signal, sys, weakref
signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes inherit it as ignored

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
    """Run a command with the site's settings to its end. An empty setting counts as unset."""
    return run_by((), site, *arguments, **settings)


def run_as(user: str, site: Site, *arguments: str, **settings: str | float) -> Result:
    """Run the same as another user. The program is loaded before, because its files may be unreadable then."""
    return _run((sys.executable, "-c", AS_ANOTHER_USER.format(user=user)), site, arguments, settings)


def run_by(wrapper: tuple[str, ...], site: Site, *arguments: str, **settings: str | float) -> Result:
    """Run the same by another command."""
    return _run((*wrapper, PROGRAM), site, arguments, settings)


def _run(program: tuple[str | Path, ...], site: Site, arguments: tuple[str, ...], settings: Mapping[str, str | float]) -> Result:
    values = {name.upper(): str(value) for name, value in {**site.settings(), **settings}.items()}
    return run_command(site.directory, {"COLUMNS": "1000", **values}, *arguments, program=program)


def test_the_version_is_that_of_the_package(site: Site) -> None:
    """The installed version is printed."""
    assert version("learning-supervisor") in run(site, "--version").stdout


# start


def test_all_wrong_settings_are_listed_at_once(site: Site) -> None:
    """Each with its variable, so that they can be corrected together. Nothing is started."""
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


def test_a_start_needs_a_chosen_backend(site: Site) -> None:
    """Without it one line has the choices, and nothing is started: a forgotten line would give pupils invented feedback."""
    result = run(site, "start", ai_backend="")
    assert result.returncode == CONFIG
    (_, line) = result.stderr.splitlines()
    assert line.startswith("  AI_BACKEND=(unset): must be chosen: write local for real feedback by Ollama, or stub for a trial")
    assert not (site.directory / "run").exists()


def test_a_misspelled_variable_of_the_environment_is_told(site: Site) -> None:
    """It has no effect, and the service runs: the log and `status` name the setting that was probably meant."""
    fleet = site.start(worker_concurency=4)
    (line,) = fleet.until_logged("unknown_setting")
    assert (line["variable"], "did you mean WORKER_CONCURRENCY?" in line["remedy"]) == ("WORKER_CONCURENCY", True)
    fleet.until_idle()
    result = run(site, "status")
    assert "WORKER_CONCURENCY in the environment is no setting and has no effect: did you mean" in result.stdout
    assert json.loads(run(site, "status", "--json").stdout)["instances"][0]["unknown_settings"][0]["name"] == "WORKER_CONCURENCY"


def test_a_thread_before_the_first_fork_is_one_line(site: Site) -> None:
    """As of the agent of a monitoring tool. No worker could be forked without a deadlock, and a restart does not help."""
    text = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    (site.directory / "sitecustomize.py").write_text(text)
    result = run(site, "start", pythonpath=f"{site.directory}:{PROJECT_ROOT}")
    assert (result.returncode, "Traceback" in result.stderr) == (CONFIG, False)
    assert "a thread was started before the first fork" in result.stderr
    assert "remove what starts it at the start of Python" in result.stderr


def test_a_service_role_in_the_dsn_is_rejected_before_the_start(site: Site) -> None:
    """Its name is enough. The password is not shown."""
    result = run(site, "start", learning_database_url="postgresql://postgres:geheim@/learning")
    assert result.returncode == CONFIG
    assert "LEARNING_DATABASE_URL" in result.stderr
    assert "geheim" not in result.stderr + result.stdout


def test_a_superuser_with_another_name_is_rejected(site: Site) -> None:
    """A role that bypasses row security gets no worker: the supervisor exits with EX_CONFIG, and no job is touched."""
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


def test_a_runtime_directory_writable_by_others_is_rejected(site: Site) -> None:
    """Locks and control sockets must be private: EX_CONFIG, and the variable to change."""
    public = site.directory / "public"
    public.mkdir()
    public.chmod(0o777)
    result = run(site, "start", runtime_directory=str(public))
    assert result.returncode == CONFIG
    assert "RUNTIME_DIRECTORY" in result.stderr


def test_an_unusable_runtime_directory_is_rejected(site: Site) -> None:
    """A path too long for a socket: EX_CONFIG and the variable, without a traceback."""
    long = run(site, "start", runtime_directory=str(site.directory / ("x" * 100)))
    assert (long.returncode, "RUNTIME_DIRECTORY" in long.stderr) == (CONFIG, True)


def test_a_flag_wins_over_the_environment(site: Site) -> None:
    """`--procs` is the number of workers, for any WORKER_CONCURRENCY."""
    fleet = site.start(wrapper=("sh", "-c", 'exec "$@" --procs 2', "sh"), worker_concurrency=1)
    fleet.until_idle()
    assert len(fleet.worker_pids()) == 2


def test_an_interrupt_during_the_imports_is_not_lost() -> None:
    """Python's default handler raises an exception that an import may swallow, and then the stop request would be lost."""
    result = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], check=False, timeout=COMMAND_SECONDS)
    assert result.returncode == -signal.SIGINT


# limits and files of the surroundings


@pytest.mark.parametrize("limit", in_two_tiers([64, 128], {64}))
def test_too_few_open_files_are_one_line(site: Site, limit: int) -> None:
    """The line names the limit, what is needed and the remedy. `check` finds the same. Nothing is started."""
    fleet = site.start(wrapper=("prlimit", f"--nofile={limit}"), stderr=subprocess.PIPE)
    assert fleet.exit_code() == CONFIG
    assert fleet.process.stderr
    text = fleet.process.stderr.read().decode()
    assert (f"is {limit}" in text, "LimitNOFILE" in text, "Traceback" in text) == (True, True, False)
    (failure,) = failures(run_by(("prlimit", f"--nofile={limit}"), site, "check"))
    assert f"is {limit}" in failure


@pytest.mark.parametrize("limit", in_two_tiers(["64:4096", "128:256", "256"], {"64:4096"}))
def test_a_low_soft_limit_is_raised(site: Site, limit: str) -> None:
    """A hard limit that suffices is used without a message, and the largest number of workers gets its descriptors."""
    fleet = site.start(wrapper=("prlimit", f"--nofile={limit}"))
    fleet.until_idle()
    assert run(site, "scale", "3").returncode == OK
    until(lambda: len(fleet.worker_pids()) == 3)
    os.kill(monitor := fleet.monitor_pid(), signal.SIGKILL)
    until(lambda: fleet.monitor_pid() != monitor)
    site.until_done_once(site.enter_texts(4))
    assert fleet.logged("bug") == fleet.logged("spawn_failed") == []


@pytest.mark.parametrize("command", in_two_tiers(["start", "check"], {"start"}))
def test_a_missing_root_certificate_is_a_wrong_setting(site: Site, command: str) -> None:
    """In the DSN and in libpq's variable: one line with the path, and no worker that tries for ever."""
    dsn = url(site.database.worker_dsn, sslmode="verify-full", sslrootcert="/no/such/root.crt")
    named = run(site, command, learning_database_url=dsn)
    dsn = url(site.database.worker_dsn, sslmode="verify-ca")
    by_variable = run(site, command, learning_database_url=dsn, pgsslrootcert="/no/such/root.crt")
    for result in (named, by_variable):
        text = result.stdout + result.stderr
        assert (result.returncode, "/no/such/root.crt" in text, "Traceback" in text) == (CONFIG, True, False)


def test_a_missing_file_of_certificates_ends_no_status(site: Site) -> None:
    """SSL_CERT_FILE is for other hosts: `status` and commands use a local socket, also if a proxy is set."""
    site.start().until_idle()
    wrong = {"ssl_cert_file": "/no/such/ca.pem", "http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"}
    assert run(site, "status", **wrong).returncode == OK
    assert run(site, "scale", "2", **wrong).returncode == OK


@pytest.mark.second_tier
def test_missing_ca_certificates_are_one_line(site: Site) -> None:
    """The bundle of the installation is gone: `start`, `check` and `doctor` report it with the remedy."""
    (site.directory / "certifi.py").write_text("def where(): return '/no/such/ca.pem'")
    path = f"{site.directory}:{PROJECT_ROOT}"
    for command, code in (("start", CONFIG), ("check", DEGRADED), ("doctor", CONFIG)):
        result = run(site, command, pythonpath=path)
        text = result.stdout + result.stderr
        assert (result.returncode, text.count("CA certificates"), "Traceback" in text) == (code, 1, False), text


# status


def test_status_without_a_supervisor(site: Site) -> None:
    """Exit code 3 as of systemctl, also with wrong settings that it does not need. As JSON the list is empty."""
    as_text, as_json = run(site, "status", worker_concurrency="eleven"), run(site, "status", "--json")
    assert (as_text.returncode, as_json.returncode) == (NOT_RUNNING, NOT_RUNNING)
    assert "Not running" in as_text.stdout
    assert json.loads(as_json.stdout) == {"instances": []}


def test_status_of_a_dead_supervisor_is_that_of_none(site: Site) -> None:
    """A socket left behind by SIGKILL is ignored."""
    fleet = site.start()
    fleet.until_idle()
    fleet.kill()
    assert list(fleet.runtime_directory.glob("*.sock")) != []
    assert run(site, "status").returncode == NOT_RUNNING


def test_a_monitor_that_is_stopped_is_not_called_not_running(site: Site) -> None:
    """Workers run, so neither `status` nor a command prints `Not running … start it`: code 1, and the command is not sent."""
    fleet = site.start()
    fleet.until_idle()
    os.kill(monitor := fleet.monitor_pid(), signal.SIGSTOP)
    as_text, as_json, order = run(site, "status"), run(site, "status", "--json"), run(site, "scale", "2")
    os.kill(monitor, signal.SIGCONT)
    assert (as_text.returncode, as_json.returncode, order.returncode) == (DEGRADED, DEGRADED, DEGRADED)
    assert "its monitor has not answered" in as_text.stdout
    assert [each["instance"] for each in json.loads(as_json.stdout)["instances"]] == [f"{fleet.instance():08x}"]
    assert "Not sent" in order.stderr
    assert "Start it" not in as_text.stdout + order.stderr
    assert len(fleet.worker_pids()) == 1


def test_a_dead_monitor_of_a_stopped_supervisor_is_not_called_not_running(site: Site) -> None:
    """The socket refuses, and the lock of the instance is held: the service runs."""
    fleet = site.start()
    fleet.until_idle()
    monitor = fleet.monitor_pid()
    fleet.process.send_signal(signal.SIGSTOP)
    os.kill(monitor, signal.SIGKILL)
    result = run(site, "status")
    fleet.process.send_signal(signal.SIGCONT)
    assert (result.returncode, "its monitor does not listen" in result.stdout) == (DEGRADED, True)


@pytest.mark.second_tier
@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("command", [["status"], ["scale", "2"]])
def test_another_user_learns_who_may_ask(site: Site, command: list[str]) -> None:
    """The runtime directory is private: code 77 and its owner, and no word of a service that does not run."""
    fleet = site.start()
    fleet.until_idle()
    result = run_as("nobody", site, *command)
    assert (result.returncode, result.stdout) == (NO_PERMISSION, "")
    assert "Run the command as root." in result.stderr or "the user of the service" in result.stderr
    site.directory.chmod(0o711)
    assert "Run the command as root." in run_as("nobody", site, *command).stderr


@pytest.mark.parametrize("command", [["status"], ["scale", "2"], ["recycle"], ["reload"]], ids=lambda words: words[0])
def test_a_service_with_another_directory_is_not_called_not_running(site: Site, command: list[str]) -> None:
    """Without RUNTIME_DIRECTORY the user's own directory is empty: the service is named, code 1, and 77 for another user."""
    fleet = site.start()
    fleet.until_idle()
    found = run(site, *command, runtime_directory="")
    assert_unknown(found, f"process {fleet.pid} of {user_name(os.getuid())} in {fleet.runtime_directory}", DEGRADED)
    if os.getuid() == 0:
        foreign = run_as("nobody", site, *command, runtime_directory="")
        assert_unknown(foreign, f"process {fleet.pid} of root", NO_PERMISSION)
        assert f"as an instance of nobody in {gettempdir()}/learning-supervisor-" in foreign.stderr


def assert_unknown(result: Result, words: str, code: int) -> None:
    """The state is unknown for the reason in these words, and nothing advises a start."""
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert words in result.stderr
    assert "is unknown" in result.stderr
    assert "Not running" not in result.stderr
    assert "start it" not in result.stderr.replace("Do not start it again", "")


@pytest.mark.parametrize("command", [["status"], ["scale", "2"]], ids=lambda words: words[0])
def test_a_file_in_place_of_the_directory_is_not_called_not_running(site: Site, command: list[str]) -> None:
    """The directory was renamed, and a file has its name: the workers go on, and the command names the remedy."""
    fleet = site.start()
    fleet.until_idle()
    fleet.runtime_directory.rename(site.directory / "renamed")
    fleet.runtime_directory.touch()
    assert_unknown(run(site, *command), f"{fleet.runtime_directory} cannot be read (Not a directory)", DEGRADED)


def test_a_removed_directory_is_not_called_not_running(site: Site) -> None:
    """The supervisor is suspended, so it cannot make the directory again: the process is found by its open lock file."""
    fleet = site.start()
    fleet.until_idle()
    fleet.process.send_signal(signal.SIGSTOP)
    rmtree(fleet.runtime_directory)
    result = run(site, "status")
    fleet.process.send_signal(signal.SIGCONT)
    assert_unknown(result, f"process {fleet.pid} of", DEGRADED)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600], ids=oct)
def test_a_directory_without_rights_is_not_called_not_running(site: Site, mode: int) -> None:
    """It belongs to this user, and may not be listed or searched: code 77 and the command that mends it."""
    site.directory.chmod(0o711)
    (directory := site.directory / "run").mkdir()
    (directory / "0badcafe.sock").touch()
    chown(directory, "nobody")
    directory.chmod(mode)
    assert_unknown(run_as("nobody", site, "status"), f"Run `chmod 700 {directory}`.", NO_PERMISSION)


@pytest.mark.second_tier
def test_status_of_two_instances(site: Site) -> None:
    """In one runtime directory, within 80 columns: 0 while all is well, and 1 as soon as one is degraded."""
    both = [site.start(worker_concurrency=2), site.start()]
    for fleet in both:
        fleet.until_state("ok")
    as_json, as_text = run(site, "status", "--json"), run(site, "status", columns=80)
    assert (as_json.returncode, as_text.returncode) == (OK, OK)
    assert "…" not in as_text.stdout
    assert max(map(len, as_text.stdout.splitlines())) <= 80
    assert {each["instance"] for each in json.loads(as_json.stdout)["instances"]} == {f"{f.instance():08x}" for f in both}
    assert as_text.stdout.count("All is well") == 2
    site.shut_out()
    both[0].until_state("down")
    assert run(site, "status").returncode == DEGRADED


# check


ABILITIES = ("usage events", "practice attempts", "dialogs", "task context", "new error codes")


@pytest.mark.postgres
def test_check_finds_nothing_on_a_good_database(site: Site) -> None:
    """Exit code 0, no failed finding, the same as JSON, and no runtime directory is left."""
    result, as_json = run(site, "check"), json.loads(run(site, "check", "--json").stdout)
    assert result.returncode == OK, result.stdout
    assert as_json["level"] in {"ok", "warning"}
    assert len(as_json["findings"]) == len(result.stdout.splitlines())
    assert not [line for line in result.stdout.splitlines() if line.startswith("failed")]
    assert not (site.directory / "run").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may act for another user")
def test_check_by_root_tries_the_runtime_directory_as_the_service(site: Site) -> None:
    """The directory of the service's user is in order, although root does not own it, and stays empty."""
    directory = Path(mkdtemp(prefix="learning-check-"))
    chown(directory, "nobody")
    try:
        result = run(site, "check", runtime_directory=str(directory))
        assert f"ok      runtime directory {directory}" in result.stdout.splitlines()
    finally:
        directory.rmdir()


@pytest.mark.second_tier
@pytest.mark.unreadable
def test_check_of_an_empty_database(site: Site) -> None:
    """First the right to use the schema is missing, then both tables, each with its remedy."""
    site.owner.execute("drop schema public cascade")
    site.owner.execute("create schema public")
    (failure,) = failures(run(site, "check"))
    assert "grant usage on schema public" in failure
    site.owner.execute("grant usage on schema public to learning_worker")
    submissions, jobs = failures(run(site, "check"))
    assert "table learning_submissions: does not exist" in submissions
    assert "table learning_submission_jobs: does not exist" in jobs
    assert ("migrations" in submissions, "columns" in submissions + jobs) == (True, False)


@pytest.mark.postgres
def test_check_of_missing_rights(site: Site) -> None:
    """A missing right, function and index are findings with remedies."""
    site.owner.execute("revoke delete on learning_submission_jobs from learning_worker")
    site.owner.execute("drop function learning_worker_mark_retry")
    site.owner.execute("drop index learning_submission_jobs_by_visibility")
    right, function, index = failures(run(site, "check"))
    assert "grant delete on learning_submission_jobs" in right
    assert "learning_worker_mark_retry" in function
    assert "create it" in index


@pytest.mark.postgres
@pytest.mark.parametrize("year", YEARS)
def test_check_names_the_schema_that_it_found(site: Site, cluster_dsn: str, year: Year) -> None:
    """The year, and for each new ability whether it is on. A worker's role gets no warning about its rights."""
    with temporary_database(cluster_dsn, year=year) as database:
        lines = run(site, "check", learning_database_url=database.worker_dsn).stdout.splitlines()
    switch = "on" if year == 2026 else "off"
    abilities = ", ".join(f"{name} {switch}" for name in ABILITIES)
    assert "ok      database login from LEARNING_DATABASE_URL" in lines
    assert f"ok      database schema of {'2025-12' if year == 2025 else 2026}: {abilities}" in lines
    assert [line for line in lines if "has not the rights of a worker" in line] == []


@pytest.mark.postgres
@pytest.mark.parametrize("year", YEARS)
def test_check_names_work_that_will_stay_queued(site: Site, cluster_dsn: str, year: Year) -> None:
    """Before the first of these jobs: the product's own adapters read no program files and have no functions for practice."""
    with temporary_database(cluster_dsn, year=year) as database:
        result = run(site, "check", learning_database_url=database.worker_dsn)
    lines = [line.split(":")[0] for line in result.stdout.splitlines() if "will stay queued" in line]
    work = ("practice attempts", "Scratch, MakeCode and Filius files")
    assert lines == ([f"warning {each} will stay queued" for each in work] if year == 2026 else [])
    assert result.returncode == OK


@pytest.mark.postgres
def test_check_of_a_role_without_the_new_functions(site: Site, cluster_dsn: str) -> None:
    """It may take jobs, so nothing fails. A warning says what is not done, and names the role that would do."""
    with temporary_database(cluster_dsn, year=2026) as database:
        result = run(site, "check", learning_database_url=database.limited_dsn)
    (warning,) = [line for line in result.stdout.splitlines() if "has not the rights of a worker" in line]
    assert f"the role {database.name}_limited has not the rights of a worker for usage events, practice attempts" in warning
    assert warning.endswith("practice attempts stay queued: use the role learning_worker, or a member of it")
    assert result.returncode == OK


@pytest.mark.unreadable
def test_check_fits_80_columns(site: Site) -> None:
    """Findings are wrapped between words, with the remedies of a missing table, model and adapter among them."""
    site.owner.execute("drop table learning_submissions cascade")
    wrong = {"ai_vision_model": "nobody-has:this", "learning_feedback_adapter": "no.such.module", "supabase_url": ""}
    narrow, wide = (run(site, "check", columns=columns, **wrong) for columns in (80, 1000))
    assert failures(wide)
    assert_fits(narrow.stdout, wide.stdout)


@pytest.mark.parametrize("command", ["start", "status", "check", "doctor", "scale", "recycle", "reload"])
def test_help_fits_80_columns(command: str) -> None:
    """Each command has a whole line in the list of commands."""
    helps = [CliRunner().invoke(supervisor.cli.main.main, arguments).output for arguments in (["--help"], [command, "--help"])]
    assert max(len(line) for text in helps for line in text.splitlines()) <= 80
    assert not any(line.endswith("...") for line in helps[0].splitlines()[1:])


def failures(result: Result) -> list[str]:
    assert (result.returncode, result.stderr) == (DEGRADED, "")
    return [line for line in result.stdout.splitlines() if line.startswith("failed")]


def test_check_of_a_database_that_is_down(site: Site) -> None:
    """One finding, without a traceback or a password."""
    dsn = url(site.database.worker_dsn, host=str(site.directory), password="geheim")
    (failure,) = failures(run(site, "check", learning_database_url=dsn))
    assert "LEARNING_DATABASE_URL" in failure
    assert "geheim" not in failure


def test_check_of_the_model_server(site: Site) -> None:
    """A missing model is named with the command that installs it, and a server that is down with its address."""
    (missing,) = failures(run(site, "check", ai_vision_model="nobody-has:this"))
    assert ("ollama pull nobody-has:this" in missing, "AI_VISION_MODEL" in missing) == (True, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    (unreachable,) = failures(run(site, "check", ollama_base_url=address))
    assert [word in unreachable for word in ("ServerUnreachable", address, "OLLAMA_BASE_URL")] == [True, True, True]


def test_check_with_wrong_settings(site: Site) -> None:
    """Exit code 78 as with `start`, and one failed line for each wrong setting, also as JSON."""
    wrong: dict[str, str | float] = {"worker_lease_seconds": 0, "ai_timeout_vision": "soon"}
    result, as_json = run(site, "check", **wrong), run(site, "check", "--json", **wrong)
    assert (result.returncode, as_json.returncode) == (CONFIG, CONFIG)
    assert [line.split("=")[0] for line in result.stdout.splitlines()] == [
        "failed  AI_TIMEOUT_VISION",
        "failed  WORKER_LEASE_SECONDS",
    ]
    findings = json.loads(as_json.stdout)["findings"]
    assert {each["subject"] for each in findings} == {"AI_TIMEOUT_VISION=soon", "WORKER_LEASE_SECONDS=0"}


# scale, recycle, reload


def test_scale(site: Site) -> None:
    """One more worker runs. An impossible number is a usage error."""
    fleet = site.start()
    fleet.until_idle()
    done, refused = run(site, "scale", "2"), run(site, "scale", "65")
    assert (done.returncode, done.stdout) == (OK, "2 workers from now on. Running jobs are not interrupted.\n")
    assert refused.returncode == USAGE
    until(lambda: len(fleet.worker_pids()) == 2)


def test_recycle(site: Site) -> None:
    """All workers without a number, one with it, and none in a slot without a worker."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    before = fleet.worker_pids()
    missing = run(site, "recycle", "0", "5")
    assert (missing.returncode, missing.stderr) == (DEGRADED, "Rejected: no worker in slot 5.\n")
    one = run(site, "recycle", "1")
    assert (one.returncode, "worker 1" in one.stdout) == (OK, True)
    fleet.until_replaced([before[1]])
    both = run(site, "recycle")
    assert (both.returncode, "all 2 workers" in both.stdout) == (OK, True)
    fleet.until_replaced(before)


def test_reload(site: Site) -> None:
    """0 and its effect, or 78 and the variable's name."""
    settings = site.directory / ".env"
    settings.write_text("AI_TIMEOUT_VISION=31\n")
    site.start().until_idle()
    right = run(site, "reload")
    settings.write_text("AI_TIMEOUT_VISION=soon\n")
    wrong = run(site, "reload")
    assert (right.returncode, "The settings are valid and go to 1 worker" in right.stdout) == (OK, True)
    assert "No setting has changed." in right.stdout
    assert (wrong.returncode, "Wrong: AI_TIMEOUT_VISION." in wrong.stderr) == (CONFIG, True)


def test_a_reload_with_another_database_is_told_as_that(site: Site) -> None:
    """It is no wrong setting, so the answer is to stop and start, and not to run check. Other changes are named."""
    settings, dsn = site.directory / ".env", site.database.worker_dsn
    settings.write_text(f"LEARNING_DATABASE_URL={dsn}\nLOG_LEVEL=INFO\n")
    site.start(learning_database_url="").until_idle()
    settings.write_text(f"LEARNING_DATABASE_URL={dsn}\nLOG_LEVEL=DEBUG\n")
    assert "Changed: LOG_LEVEL.\n" in run(site, "reload").stdout
    settings.write_text(f"LEARNING_DATABASE_URL={url(dsn, dbname='another')}\n")
    result = run(site, "reload")
    assert (result.returncode, "LEARNING_DATABASE_URL cannot change while the service runs" in result.stderr) == (CONFIG, True)
    assert ("Stop and start" in result.stderr, "check" in result.stderr) == (True, False)


def test_a_command_without_a_supervisor(site: Site) -> None:
    """Exit code 3, as of status."""
    for command in (["scale", "2"], ["recycle"], ["reload"]):
        result = run(site, *command)
        assert (result.returncode, "Not running" in result.stderr) == (NOT_RUNNING, True)


def test_a_command_with_several_instances_needs_a_name(site: Site) -> None:
    """Without a name none is changed, with a name only that one."""
    both = [site.start(), site.start()]
    for fleet in both:
        fleet.until_idle()
    unnamed = run(site, "scale", "2")
    assert (unnamed.returncode, unnamed.stderr.count(both[0].status()["instance"])) == (USAGE, 1)
    assert run(site, "scale", "2", "--instance", both[1].status()["instance"]).returncode == OK
    until(lambda: len(both[1].worker_pids()) == 2)
    assert len(both[0].worker_pids()) == 1
    assert run(site, "scale", "2", "--instance", "0badcafe").returncode == NOT_RUNNING


# a supervisor that does not answer


def test_a_refused_command_is_not_carried_out_later(site: Site) -> None:
    """The supervisor is suspended: the command is rejected, and it stays undone when the supervisor goes on."""
    fleet = site.start()
    fleet.until_idle()
    os.kill(fleet.pid, signal.SIGSTOP)
    result = run(site, "scale", "3")
    os.kill(fleet.pid, signal.SIGCONT)
    assert (result.returncode, "is not carried out" in result.stderr) == (REJECTED, True)
    assert [each["command"] for each in fleet.until_logged("command_expired")] == ["scale"]
    assert run(site, "recycle").returncode == OK
    assert (len(fleet.worker_pids()), fleet.logged("scaled")) == (1, [])


def has_pending_command(monitor: int) -> bool:
    """Report whether a number is in the token, which is the only eventfd with a count while all workers are idle."""
    for path in Path(f"/proc/{monitor}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if re.search(r"^eventfd-count: +0*[1-9a-f]", path.read_text(), re.MULTILINE):
                return True
    return False


def test_an_unknown_outcome_is_told_as_unknown(site: Site) -> None:
    """The monitor is killed while it waits for the supervisor: the command may be carried out, and nothing else is claimed."""
    fleet = site.start()
    fleet.until_idle()
    monitor, environ = fleet.monitor_pid(), {"PYTHONPATH": str(PROJECT_ROOT), "RUNTIME_DIRECTORY": str(site.directory / "run")}
    os.kill(fleet.pid, signal.SIGSTOP)
    with subprocess.Popen([PROGRAM, "scale", "3"], env=environ, cwd=site.directory, stderr=subprocess.PIPE, text=True) as scale:
        until(lambda: has_pending_command(monitor))
        os.kill(monitor, signal.SIGKILL)
        _, error = scale.communicate(timeout=COMMAND_SECONDS)
    os.kill(fleet.pid, signal.SIGCONT)
    assert (scale.returncode, "may have been carried out" in error) == (UNKNOWN, True)
