"""Trials of `check` in a forked child with the rights of the service, so that a hanging disk or a bad module costs one line."""

import json
import os
import pwd
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from supervisor.adapters import processes
from supervisor.findings import Finding, Level

TRIAL_SECONDS = 30.0  # longer than the download of a file and than any usual import
_MAX_BYTES = 65_536

Trial = Callable[[], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Account:
    """The account under which the service runs."""

    name: str
    uid: int
    gid: int

    def become(self) -> None:
        """Give up all rights of root in this process."""
        os.initgroups(self.name, self.gid)
        os.setgid(self.gid)
        os.setuid(self.uid)


def service_account(runtime_directory: Path, env_file: Path) -> Account | None:
    """The owner of the runtime directory or of the settings file, if this process is root. None: the service has our rights."""
    if os.geteuid() != 0:
        return None
    for path in (runtime_directory, env_file):
        with suppress(OSError, KeyError):
            if uid := path.stat().st_uid:
                entry = pwd.getpwuid(uid)
                return Account(entry.pw_name, uid, entry.pw_gid)
    return None


def findings_of(trial: Trial, subject: str, account: Account | None, timeout_seconds: float = TRIAL_SECONDS) -> list[Finding]:
    """The findings of the trial. A child that hangs or dies is a failed finding about the subject."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid = processes.spawn(lambda: _run(trial, writing, account), [reading])
    except processes.UnsafeFork as error:
        os.close(writing)
        return [Finding(Level.FAILED, subject, f"cannot be tried, because the start has {error}: see the line on threads")]
    else:
        os.close(writing)
        content = _read(reading, time.monotonic() + timeout_seconds)
        processes.kill(pid)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return _decoded(content) if content else [_without_result(subject, status, timeout_seconds)]
    finally:
        os.close(reading)


def _run(trial: Trial, writing: int, account: Account | None) -> int:
    """Run the trial in the child. What a foreign module prints does not reach the standard output of the command."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    os.dup2(2, 1)
    if account:
        account.become()
    found = [(finding.level.value, finding.subject, finding.remedy) for finding in trial()]
    os.write(writing, json.dumps(found).encode() + b"\n")
    return 0


def _read(fd: int, until_seconds: float) -> bytes:
    """The whole line of the child, or nothing. A process that the trial has left behind may hold the pipe open."""
    poll, content = select.poll(), b""
    poll.register(fd, select.POLLIN)
    while not content.endswith(b"\n") and len(content) < _MAX_BYTES:
        if not poll.poll(max(0.0, until_seconds - time.monotonic()) * 1000) or not (piece := os.read(fd, _MAX_BYTES)):
            return b""
        content += piece
    return content


def _decoded(content: bytes) -> list[Finding]:
    return [Finding(Level(level), subject, remedy) for level, subject, remedy in json.loads(content)]


def _without_result(subject: str, status: int, timeout_seconds: float) -> Finding:
    if status == -signal.SIGKILL:
        remedy = f"has not ended within {timeout_seconds:.0f} s: look for a disk, a server or a module that does not answer"
    else:
        end = f"signal {-status}" if status < 0 else f"exit code {status}"
        remedy = f"ended the process that tried it ({end}): a worker would crash in the same way. Correct or replace it"
    return Finding(Level.FAILED, subject, remedy)
