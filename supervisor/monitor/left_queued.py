"""Jobs that stay queued because this instance cannot do them, in words."""

from collections.abc import Sequence

from supervisor.wording import counted
from worker.ipc.contract import Obstacle
from worker.queue.polls import LeftQueued

REMEDIES = {
    Obstacle.TEST: "They belong to tests, and WORKER_SKIP_PYTEST_JOBS is set.",
    Obstacle.TEST_RUN: "WORKER_TEST_RUN_ID is set, so only the jobs of one test run are done: remove it.",
    Obstacle.KIND: "The platform is newer than this version: install a newer one.",
    Obstacle.FILE_TYPE: "The vision adapter takes no such files: name an adapter that does in LEARNING_VISION_ADAPTER.",
    Obstacle.MODE: "The platform is newer than this version: install a newer one.",
    Obstacle.ADAPTER: "The feedback adapter has no method for them: name one that has in LEARNING_FEEDBACK_ADAPTER.",
    Obstacle.PRACTICE: "The functions for practice are missing: make the platform's module backend.learning.practice.completion "
    "importable for the service, and let the worker log in as gustav_worker.",
}


def troubling(left: Sequence[LeftQueued]) -> list[LeftQueued]:
    """Leave out the tests that are skipped on purpose."""
    return [each for each in left if each.obstacle is not Obstacle.TEST]


def kinds_in_words(left: Sequence[LeftQueued]) -> str:
    """`3 scratch (file_type), 1 dialog (adapter)`, the most of them first."""
    return ", ".join(f"{each.jobs} {each.kind} ({each.obstacle})" for each in left)


def left_in_words(left: Sequence[LeftQueued]) -> str:
    """One message for an administrator, with the remedy for the most of them. `left` is not empty."""
    count = sum(each.jobs for each in left)
    stay = "stays" if count == 1 else "stay"
    return (
        f"{counted(count, 'submission')} cannot be done here and {stay} queued: {kinds_in_words(left)}. "
        "The others go on, and none is lost or has failed. "
        f"{REMEDIES[left[0].obstacle]}"
    )
