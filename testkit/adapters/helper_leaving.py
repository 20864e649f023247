"""Writes feedback with the model as the product does. On request it leaves a process behind, as an adapter's library may.

The directory is HELPERS. A file `order` there requests one process and names the kind of fork: `python` or `libc`, which calls no
hook of Python. Its name becomes `left-WORKER-HELPER` with both pids.
"""

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from worker.adapters.feedback import Feedback, FeedbackWriter
from worker.ollama.call_report import OnCall, ignore_call
from worker.ollama.client import Ollama
from worker.settings import WorkerSettings

HELPER_SECONDS = 3600.0
POLL_SECONDS = 0.001
WAIT_SECONDS = 3.0  # for the worker's kill, which must find it in its step


class HelperLeaving(FeedbackWriter):
    def analyze(
        self,
        *,
        text_md: str,
        criteria: Sequence[str],
        instruction_md: str | None = None,
        teacher_context_md: str | None = None,
        attempt: int = 0,
    ) -> Feedback:
        with suppress(OSError):  # no order
            _obey(Path(os.environ["HELPERS"]))
        texts = {"instruction_md": instruction_md, "teacher_context_md": teacher_context_md}
        return super().analyze(text_md=text_md, criteria=criteria, attempt=attempt, **texts)


def _obey(directory: Path) -> None:
    """Take the order, leave a process, and wait. Raises OSError without an order."""
    taken = directory / f"taken-{os.getpid()}"
    (directory / "order").rename(taken)
    pid = _forked_by_libc() if taken.read_text() == "libc" else os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(HELPER_SECONDS)
        os._exit(0)
    while os.getsid(pid) != pid:
        time.sleep(POLL_SECONDS)
    taken.rename(directory / f"left-{os.getpid()}-{pid}")
    time.sleep(WAIT_SECONDS)


def _forked_by_libc() -> int:
    fork: Any = ctypes.PyDLL(None).fork
    return int(fork())


def build(settings: WorkerSettings, on_progress: Callable[[], None], on_call: OnCall = ignore_call) -> HelperLeaving:
    return HelperLeaving(settings, Ollama(settings.ollama_base_url, on_progress, on_call))
