"""The output of `status` about Ollama and this host's memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from supervisor.adapters.running_supervisors import RunningSupervisor
from supervisor.admission.decision import Decision, HoldReason
from supervisor.admission.facts import HostMeasured, ListError, ListFailed, LoadedModel
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState
from supervisor.cli import instances
from supervisor.cli.status import show
from supervisor.monitor.document import snapshot
from supervisor.monitor.ollama.metrics import admission_metrics
from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.state import MonitorState
from tests.terminal import WIDTH, assert_fits
from worker.ipc.scoreboard import Scoreboard

GB = 1_000_000_000
POLICY = AdmissionPolicy(vision_model="eyes", limit_bytes=12 * GB)
MODEL = LoadedModel("eyes", "d", 4 * GB, 0, 4096)
HOST = HostMeasured(9 * GB, 3 * GB, 16 * GB, 0.125, 0, 6 * GB, 1.0)


def shown(capsys: pytest.CaptureFixture[str], host: HostMeasured | None, *, is_remote: bool = False) -> list[str]:
    """The document consists of JSON types only, as over the control socket."""
    state = replace(AdmissionState.of(POLICY, 0.0), listed=(MODEL,), host=host)
    monitor = MonitorState()
    monitor.admission = AdmissionView(POLICY, state, is_remote=is_remote)
    document: dict[str, Any] = snapshot(Scoreboard(), monitor, instance=1, is_stub=False)
    show([document], Path(), Console(width=200))
    return capsys.readouterr().out.splitlines()


def test_memory_of_ollama_and_of_this_host(capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes and memory pressure, which no rule reads, are shown."""
    lines = shown(capsys, HOST)
    assert "Ollama: eyes 4.0 GB · 9.0 GB measured · limit 12.0 GB" in lines
    assert "this host: 3.0 GB free · 6.0 GB free on the GPU · processes waited for memory in 12% of the last 10 s" in lines


def test_unmeasured_processes_are_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    """Processes of a remote Ollama cannot be measured. A host without cards and pressure has no text about them."""
    lines = shown(capsys, HostMeasured(None, 3 * GB, 16 * GB, None, None, None, 1.0), is_remote=True)
    assert "Ollama: eyes 4.0 GB · on another host, whose processes cannot be measured · limit 12.0 GB" in lines
    assert "this host: 3.0 GB free" in lines


@pytest.mark.parametrize(("host", "free"), [(HOST, [6.0 * GB]), (replace(HOST, gpu_free_bytes=None), []), (None, [])])
def test_cards_are_measured_if_present(host: HostMeasured | None, free: list[float]) -> None:
    """A missing card has no sample, not a sample of 0."""
    state = replace(AdmissionState.of(POLICY, 0.0), host=host)
    found = [each for each in admission_metrics(AdmissionView(POLICY, state)) if each.name == "learning_gpu_free_bytes"]
    assert [sample.value for each in found for sample in each.samples] == free


def test_no_host_line_before_the_first_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    """An unmeasured host is not shown with 0 bytes."""
    assert not [line for line in shown(capsys, None) if line.startswith("this host")]


def test_a_reason_mentions_that_ollama_is_down() -> None:
    """The message about a failing model also mentions that its server does not answer."""
    state = replace(AdmissionState.of(POLICY, 0.0), list_failure=ListFailed(ListError.UNREACHABLE, 0.0))
    decision = Decision(reasons=(HoldReason.BREAKER,))
    assert "(Ollama does not answer: unreachable)" in AdmissionView(POLICY, state, decision).trouble(1.0)
    answering = AdmissionView(POLICY, replace(state, list_failure=None), decision)
    assert answering.trouble(1.0).startswith("Held back: ")
    assert "does not answer" not in answering.trouble(1.0)


def test_a_reason_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is printed below the message only if the message does not contain it."""
    monitor = MonitorState()
    monitor.admission = AdmissionView(POLICY, AdmissionState.of(POLICY, 0.0), Decision(reasons=(HoldReason.BREAKER,)))
    document: dict[str, Any] = snapshot(Scoreboard(), monitor, instance=1, is_stub=False)
    why = document["admission"]["why"]
    for message, times in ((f"Held back: {why}.", 1), ("No worker runs.", 1)):
        show([document | {"message": message}], Path(), Console(width=200))
        assert capsys.readouterr().out.count(why) == times


def test_a_reason_with_its_age_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The message has the age of the hold between the reason and the remedy. It is still the same reason."""
    state = replace(AdmissionState.of(POLICY, 0.0), list_failure=ListFailed(ListError.UNREACHABLE, 0.0))
    monitor = MonitorState()
    monitor.admission = AdmissionView(POLICY, state, Decision(reasons=(HoldReason.SERVER,)))
    document: dict[str, Any] = snapshot(Scoreboard(), monitor, instance=1, is_stub=False)
    message = monitor.admission.trouble(60.0)
    assert document["admission"]["why"] not in message
    show([document | {"message": message}], Path(), Console(width=1000))
    assert capsys.readouterr().out.count("Ollama cannot be reached") == 1


def test_without_the_database_no_number_of_submissions_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The last counts are old, and a service that never had a connection would show that nothing waits."""
    monitor = MonitorState()
    document: dict[str, Any] = snapshot(Scoreboard(), monitor, instance=1, is_stub=False)
    show([document], Path(), Console(width=200))
    assert "instance 00000001 · number of submissions unknown without the database" in capsys.readouterr().out.splitlines()
    monitor.is_connected = True
    show([snapshot(Scoreboard(), monitor, instance=1, is_stub=False)], Path(), Console(width=200))
    assert "instance 00000001 · 0 waiting, 0 in work, 0 failed" in capsys.readouterr().out.splitlines()


WORKER = {
    "slot": 63,
    "state": "stopping",
    "activity": "checkpoint",
    "is_retiring": True,
    "pid": 4_194_303,
    "job_id": "0" * 36,
    "totals": {"completed": 123_456},
    "rss_bytes": 2**30,
    "uss_bytes": 2**29,
    "starts": 12,
    "crashes": 3,
    "last_exit": "signal 9",
    "last_cause": "hung",
}


def test_the_output_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the widest row, every optional line and a long directory: no word is broken and no cell is cut."""
    others = [RunningSupervisor(4_194_304, 0, Path("/var/lib/learning-supervisor"))]  # those of this host come and go
    monkeypatch.setattr(instances, "running_supervisors", lambda: others)
    state = replace(AdmissionState.of(POLICY, 0.0), listed=(MODEL,) * 3, host=HOST)
    monitor = MonitorState()
    monitor.admission = AdmissionView(POLICY, state, Decision(reasons=(HoldReason.BREAKER,)))
    document: dict[str, Any] = snapshot(Scoreboard(), monitor, instance=1, is_stub=True) | {"workers": [WORKER]}
    narrow, wide = (printed([document], width, capsys) for width in (WIDTH, 1000))
    assert_fits(narrow, wide)
    assert "…" not in narrow
    assert_fits(*(printed([], width, capsys) for width in (WIDTH, 1000)))


def printed(found: list[dict[str, Any]], width: int, capsys: pytest.CaptureFixture[str]) -> str:
    show(found, Path("/var/lib/learning-supervisor" + "/a-long-directory" * 4), Console(width=width))
    return capsys.readouterr().out
