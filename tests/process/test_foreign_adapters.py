"""Adapters that behave like the platform's: what reaches them, how long they may take, and what becomes of their errors."""

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from uuid import UUID

import pytest

from testkit.adapters.platform_2025.local_feedback import STANDARD_SENTENCE
from testkit.live_fleet import LiveFleet, start_fleet
from testkit.provider import LIMITED, SILENT, Provider, Reply, provider
from testkit.school import School, counted, enter_one, is_idle
from testkit.site import Site, Value
from testkit.submissions import Submission, text_submissions
from testkit.supervisor_process import as_variables, run_command
from testkit.waiting import until
from worker.ipc.contract import Counter, EventKind

pytestmark = pytest.mark.postgres

LONG_SECONDS = 120.0
OF_2025, OF_2026 = "testkit.adapters.platform_2025", "testkit.adapters.platform_2026"
SETUP = f"{OF_2025}.setup:configure"
SLOW_SECONDS = 1.0


@pytest.fixture
def model() -> Iterator[Provider]:
    with provider() as running:
        yield running


def adapters(package: str) -> dict[str, str]:
    return {"learning_vision_adapter": f"{package}.local_vision", "learning_feedback_adapter": f"{package}.local_feedback"}


def texts(count: int, criteria: tuple[str, ...] = ()) -> list[Submission]:
    return [replace(each, criteria=criteria) for each in text_submissions(count, seed=1)]


# The environment and the set-up, in a whole fleet


def start(site: Site, package: str, file: Mapping[str, object], **settings: Value) -> LiveFleet:
    """Start a fleet whose settings file has what the adapters read, and whose environment has not."""
    (site.directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in file.items()))
    given = {**site.settings(), **adapters(package), **settings}
    for name in file:
        given.pop(name.lower(), None)
    return site.undo.enter_context(start_fleet(as_variables(given), site.directory))


def of_2025(site: Site, model: Provider) -> dict[str, object]:
    return {"OLLAMA_BASE_URL": model.url, "AI_FEEDBACK_MODEL": "mistral", "STORAGE_VERIFY_ROOT": site.storage_root}


def test_the_settings_file_reaches_the_adapters_after_one_set_up(site: Site, model: Provider) -> None:
    """Twelve submissions of twelve get a model's feedback, although only the file has the adapters' settings."""
    entered = [*site.enter_texts(6), *site.enter_photos(6)]
    start(site, OF_2025, {**of_2025(site, model), "LEARNING_WORKER_SETUP": SETUP}, worker_concurrency=2)
    site.until_done_once(entered)
    rows = [site.submission(each) for each in entered]
    assert {(row["analysis_status"], row["feedback_md"]) for row in rows} == {("completed", "a feedback (set up 1 times)")}
    assert len(model.prompts) == 12


def test_without_the_set_up_no_model_is_asked(site: Site, model: Provider) -> None:
    """The hook is what the platform's `main()` does, so this is what a pupil would get without it."""
    (text,) = site.enter_texts(1)
    start(site, OF_2025, of_2025(site, model))
    site.until_done_once([text])
    assert (site.submission(text)["feedback_md"], model.prompts) == (STANDARD_SENTENCE, [])


def test_a_reload_gives_the_adapters_the_new_file(site: Site, model: Provider) -> None:
    """A missing setting holds the submissions. The workers after a reload find it, and no attempt is used."""
    file = {"AI_TEXT_MODEL": "mistral"}
    (text,) = site.enter(*texts(1))
    fleet = start(site, OF_2026, file)
    until(lambda: site.job(text)["error_code"] == "missing_OPENAI_BASE_URL")
    assert site.job(text)["retry_count"] == 0
    (site.directory / ".env").write_text(f"AI_TEXT_MODEL=mistral\nOPENAI_BASE_URL={model.url}\n")
    os.kill(fleet.pid, signal.SIGHUP)
    site.until_done_once([text])
    assert site.submission(text)["feedback_md"] == "a feedback"


def test_a_rate_limit_has_a_line_in_the_status(site: Site, model: Provider) -> None:
    """Step, code and time are there while the step is held, and the service is well again without an operator."""
    model.answer(replace(LIMITED, retry_after="12"))
    entered = site.enter(*texts(2))
    fleet = start(site, OF_2026, {"AI_TEXT_MODEL": "mistral", "OPENAI_BASE_URL": model.url})
    until(lambda: "(provider_rate_limited): feedback, for another " in fleet.status()["message"])
    status = fleet.status()
    assert status["state"] == "degraded"
    assert [(each["step"], each["code"]) for each in status["rate_limits"]] == [("feedback", "provider_rate_limited")]
    site.until_done_once(entered)
    fleet.until_state("ok")


# What `check` says


def check(site: Site, package: str, file: Mapping[str, object], without: str = "") -> list[str]:
    (site.directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in file.items()))
    (site.directory / ".env").chmod(0o600)
    given = {**site.settings(), **adapters(package)}
    for name in (*file, without):
        given.pop(name.lower(), None)
    return run_command(site.directory, as_variables(given), "check").stdout.splitlines()


def lines_with(lines: list[str], word: str) -> list[str]:
    return [line for line in lines if word in line]


def test_check_builds_the_adapters_as_a_worker_does(site: Site, model: Provider) -> None:
    """With the file's variables and after the set-up both are in order."""
    lines = check(site, OF_2025, {**of_2025(site, model), "LEARNING_WORKER_SETUP": SETUP})
    assert len(lines_with(lines, "adapter testkit")) == 2
    assert all(line.startswith("ok") for line in lines_with(lines, "adapter"))


def test_check_says_what_an_adapter_misses(site: Site) -> None:
    """The platform's adapters find it out at the first call, so it is looked up in their source."""
    lines = "\n".join(check(site, OF_2026, {"AI_OCR_MODEL": "mistral"}))
    assert "feedback adapter: OPENAI_BASE_URL is not set" in lines
    assert "feedback adapter: AI_TEXT_MODEL is not set" in lines
    assert "AI_OCR_MODEL is not set" not in lines


def test_check_names_a_setting_that_build_does_not_find(site: Site) -> None:
    """A KeyError of the environment names the variable, which is no secret."""
    lines = "\n".join(check(site, OF_2025, {"AI_FEEDBACK_MODEL": "mistral"}, without="OLLAMA_BASE_URL"))
    assert "OLLAMA_BASE_URL is not set" in lines


@pytest.mark.parametrize("setup", ["testkit.nowhere:configure", f"{OF_2025}.setup:nothing"])
def test_check_names_a_set_up_that_is_missing(site: Site, model: Provider, setup: str) -> None:
    """The remedy is about the setting of the set-up, not about the adapters."""
    lines = "\n".join(check(site, OF_2025, {**of_2025(site, model), "LEARNING_WORKER_SETUP": setup}))
    assert "correct LEARNING_WORKER_SETUP" in lines


def test_check_counts_the_jobs_that_prepared_adapters_leave(site: Site, model: Provider) -> None:
    """An adapter whose settings are in the file alone is built as by a worker, and its role may be a test's."""
    (text,) = site.enter_texts(1)
    mode = "payload = payload || '{\"analysis_mode\": \"dialog\"}', visible_at = now() - interval '1 hour'"
    site.owner.execute(f"update learning_submission_jobs set {mode} where submission_id = %s", [text])
    lines = check(site, OF_2025, {**of_2025(site, model), "LEARNING_WORKER_SETUP": SETUP}, without="OLLAMA_BASE_URL")
    assert len(lines_with(lines, "submissions stay queued")) == 1


# Errors and limits, in single workers


def environ(school: School, model: Provider) -> dict[str, str]:
    names = ("AI_TEXT_MODEL", "AI_VISUAL_MODEL", "AI_OCR_MODEL")
    return {"OPENAI_BASE_URL": model.url, "STORAGE_VERIFY_ROOT": str(school.storage_root), **dict.fromkeys(names, "mistral")}


def last_error(school: School, submission_id: UUID) -> str | None:
    row = school.submission(submission_id)
    error: str | None = row["feedback_last_error"] or row["vision_last_error"]
    return error


def test_a_result_of_three_model_stages(school: School, model: Provider) -> None:
    """An analysis that had to be repaired, and the feedback, are one result."""
    model.answer("no list", "[5, 6]", "well done")
    submission_id = enter_one(school, texts(1, ("a", "b"))[0])
    with school.worker(environ(school, model), **adapters(OF_2026)) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
    row = school.submission(submission_id)
    scores = [each["score"] for each in row["analysis_json"]["criteria_results"]]
    assert (row["feedback_md"], scores, row["analysis_json"]["score"]) == ("well done", [5, 6], 3)


def test_a_slow_call_ends_as_the_adapter_s_own_timeout(school: School, model: Provider) -> None:
    """The worker lives, the job is held with the adapter's code, and the next try completes it."""
    model.answer(SILENT)
    submission_id = enter_one(school, texts(1)[0])
    settings = {**adapters(OF_2026), "ai_foreign_timeout_seconds": SLOW_SECONDS}
    with school.worker(environ(school, model), **settings) as worker:
        until(lambda: school.has_job(submission_id) and school.job(submission_id)["error_code"] == "timeout")
        assert school.job(submission_id)["retry_count"] == 0
        assert "crashes" not in school.job(submission_id)["payload"]
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        failed = [event for event in worker.read_events() if event.kind is EventKind.STEP_FAILED]
    assert [(event.error_class, event.outcome) for event in failed] == [("timeout", "suspect")]
    assert school.results(submission_id) == ["completed"]


def test_a_rate_limit_holds_the_stage(school: School, model: Provider) -> None:
    """One call learns of it. The other texts wait for the pause that the provider names, and none uses an attempt."""
    model.reply = replace(LIMITED, retry_after="50")
    entered = school.enter(*texts(3))
    with school.worker(environ(school, model), **adapters(OF_2026)) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1 and is_idle(worker))
        seen_seconds = worker.record().alive_seconds
        until(lambda: worker.record().alive_seconds > seen_seconds + 1)  # it has searched several times since
        assert len(model.prompts) == 1
        assert counted(worker)[Counter.FEEDBACK_CALLS] == 1
    errors = {school.job(each)["error_code"] for each in entered}
    assert (errors, {school.job(each)["retry_count"] for each in entered}) == ({"provider_rate_limited", None}, {0})


def test_a_rate_limit_ends_by_itself(school: School, model: Provider) -> None:
    """After a short pause the same worker completes all texts."""
    model.answer(replace(LIMITED, retry_after="1"), LIMITED)
    entered = school.enter(*texts(3))
    with school.worker(environ(school, model), **adapters(OF_2026)) as worker:
        until(lambda: school.is_final(*entered) and is_idle(worker))
        assert counted(worker)[Counter.RELEASED] == 2  # held, each time for one pause
    assert [school.results(each) for each in entered] == [["completed"]] * 3


def test_an_analysis_that_is_repaired_in_vain_fails_at_once(school: School, model: Provider) -> None:
    """The database of 2025 takes only `feedback_failed`. The precise code is in the job's row and beside the submission's."""
    model.reply = Reply("no list")
    submission_id = enter_one(school, texts(1, ("a",))[0])
    with school.worker(environ(school, model), **adapters(OF_2026)) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert counted(worker)[Counter.FAILED_FEEDBACK] == 1
    assert (school.submission(submission_id)["error_code"], last_error(school, submission_id)) == (
        "feedback_failed",
        "feedback_invalid_analysis",
    )
    assert (school.job(submission_id)["error_code"], len(model.prompts)) == ("feedback_invalid_analysis", 2)


def test_a_file_with_another_hash_fails_with_its_code(school: School, model: Provider, photo: Submission) -> None:
    """The platform's code stands in the row and in the log."""
    submission_id = enter_one(school, photo)
    school.owner.execute("update learning_submissions set sha256 = repeat('0', 64) where id = %s", [submission_id])
    with school.worker(environ(school, model), **adapters(OF_2026)) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert "hash_mismatch" in {event.error_class for event in worker.read_events()}
    assert (school.submission(submission_id)["error_code"], last_error(school, submission_id)) == (
        "vision_failed",
        "hash_mismatch",
    )


def test_a_picture_that_is_not_there_yet_is_held(school: School, model: Provider, photo: Submission) -> None:
    """The store may be away, so the first failure convicts no job."""
    submission_id = enter_one(school, replace(photo, criteria=()))
    for path in school.storage_root.rglob("*.*"):
        path.rename(path.with_suffix(".away"))
    with school.worker(environ(school, model), **adapters(OF_2026)) as worker:
        until(lambda: school.has_job(submission_id) and school.job(submission_id)["error_code"] == "image_unavailable")
        for path in school.storage_root.rglob("*.away"):
            path.rename(path.with_suffix(".png"))
        until(lambda: school.is_final(submission_id) and is_idle(worker))
    assert school.results(submission_id) == ["completed"]


def test_a_server_s_own_words_stay_out(school: School, model: Provider) -> None:
    """The adapters of 2025 put the server's message into their error: only the class is written."""
    model.reply = Reply(status=500)
    submission_id = enter_one(school, texts(1)[0])
    given = {"OLLAMA_BASE_URL": model.url, "AI_FEEDBACK_MODEL": "mistral"}
    with school.worker(given, **adapters(OF_2025), learning_worker_setup=SETUP) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1)
        written = f"{school.submission(submission_id)} {school.job(submission_id)} {worker.read_events()}"
    assert "FeedbackTransientError" in written
    assert "the server said" not in written


# A call that does not come back


@pytest.mark.second_tier
def test_a_worker_killed_in_a_slow_foreign_call_is_not_the_job_s_fault(site: Site, model: Provider) -> None:
    """A process that does not react to its limit is killed, and the job completes without a crash in its payload."""
    model.answer(SILENT)
    (text,) = site.enter(*texts(1))
    file = {"OPENAI_BASE_URL": model.url, "AI_TEXT_MODEL": "mistral"}
    fleet = start(site, OF_2026, file, ai_foreign_timeout_seconds=SLOW_SECONDS, terminate_grace_seconds=0.1)
    (pid,) = fleet.until_busy("feedback")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: len(fleet.logged("lease_reclaimed")) == 1, LONG_SECONDS)
    assert [line["counted"] for line in fleet.logged("reclaim_lease")] == ["False"]
    site.until_done_once([text])
    assert site.submission(text)["analysis_status"] == "completed"
