"""A worker that is asked to leave in the instant in which it leases, works, settles or begins its wait."""

import signal
import time
from collections.abc import Callable

import pytest

from testkit.bare_worker import BareWorker
from testkit.school import School, is_idle
from testkit.submissions import text_submissions
from testkit.waiting import until
from worker.ipc.contract import ExitCode
from worker.ipc.scoreboard import ControlRecord

JOBS = 4  # with the stub one takes some milliseconds
LONGEST_DELAY_SECONDS = 0.02


def terminate(worker: BareWorker) -> None:
    worker.signal(signal.SIGTERM)


def retire(worker: BareWorker) -> None:
    """The supervisor writes the record first, then the wake-up."""
    worker.control(ControlRecord(leasing_slots=1, retiring=1))
    worker.wake()


@pytest.mark.parametrize("count", [4, pytest.param(150, marks=pytest.mark.second_tier)])
@pytest.mark.parametrize("ask_to_leave", [terminate, retire])
def test_a_request_to_leave_at_any_instant(school: School, ask_to_leave: Callable[[BareWorker], None], count: int) -> None:
    """The worker leaves with 0 and without a lease. A job is completed once, or is in the queue as it was entered."""
    texts = list(text_submissions(JOBS, seed=1))
    for number in range(count):
        with school.worker(ai_backend="stub", worker_poll_interval=60.0) as worker:
            until(lambda: is_idle(worker))
            entered = school.enter(*texts)
            worker.wake()
            time.sleep(LONGEST_DELAY_SECONDS * number / count)
            ask_to_leave(worker)
            assert worker.exit_status() == ExitCode.DONE
            assert (worker.record().lease_key, worker.record().next_lease_key) == (None, None)
        left = [school.job(each) for each in entered if school.has_job(each)]
        assert {(job["status"], job["lease_key"], job["retry_count"]) for job in left} <= {("queued", None, 0)}
        assert not any({"crashes", "expiries"} & job["payload"].keys() for job in left)
        assert sum(school.results(each) == ["completed"] for each in entered) == JOBS - len(left)
        school.clear()
