"""Leasing while a gate is closed: which jobs are passed over, how many, and that searches do not block each other."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from testkit.filled_queue import FilledQueue, worker_connection
from worker.core.gates import ALL_OPEN, Gates
from worker.core.outcome import Completed, Lease
from worker.queue.leases import LOOK_AHEAD, LeaseRequest, lease_job
from worker.queue.settle import settle_and_lease
from worker.queue.statements import statement

pytestmark = pytest.mark.postgres

LEASE_SECONDS, HOUR_SECONDS = 45.0, 3600.0
READING, JUDGING = Gates(vision=True, feedback=False), Gates(vision=False, feedback=True)
CLOSED = Gates(vision=False, feedback=False)
COMPLETED = Completed("what was read", "well done", {})


def request(gates: Gates, position: str | None = None, skipped_job_ids: tuple[UUID, ...] = ()) -> LeaseRequest:
    return LeaseRequest(uuid4(), LEASE_SECONDS, position, gates, skipped_job_ids)


def take(queue: FilledQueue, gates: Gates) -> Lease | None:
    return lease_job(queue.worker, request(gates))


def taken(queue: FilledQueue, gates: Gates) -> list[UUID]:
    """Lease until nothing is left, and return the jobs in order."""
    return [lease.job_id for lease in iter(lambda: take(queue, gates), None)]


NEXT_STEPS: dict[str, tuple[str, Mapping[str, object] | str, Gates]] = {
    "typed text": ("text", {}, JUDGING),
    "picture": ("image", {}, READING),
    "document": ("file", {}, READING),
    "picture that was read": ("image", {"cached_text_md": "read"}, JUDGING),
    "empty page": ("image", {"cached_text_md": ""}, JUDGING),
    "document read in part": ("file", {"cached_pages": ["page 1"], "cached_pages_from": "it"}, READING),
    "text of null": ("image", {"cached_text_md": None}, READING),
    "payload that is none": ("image", "[1]", READING),
}


@pytest.mark.parametrize(("kind", "payload", "gates"), NEXT_STEPS.values(), ids=NEXT_STEPS.keys())
@pytest.mark.parametrize("leased_for_seconds", [None, -1.0], ids=["queued", "expired"])
def test_the_gate_of_the_next_step_decides(
    queue: FilledQueue, kind: str, payload: Mapping[str, object] | str, gates: Gates, leased_for_seconds: float | None
) -> None:
    """A job is not leased while that gate is closed, whatever the other gate is. It is leased while it is open."""
    job_id = queue.enter(kind=kind, payload=payload, leased_for_seconds=leased_for_seconds).job_id
    before = queue.everything()
    others = {READING, JUDGING, CLOSED} - {gates}
    assert [take(queue, other) for other in others] == [None, None]
    assert queue.everything() == before
    assert taken(queue, gates) == [job_id]


def test_the_order_of_jobs_with_an_open_gate_stays(queue: FilledQueue) -> None:
    """Expired leases come first, then the oldest job, and an expiry is counted as always."""
    jobs = {age: queue.enter(kind="text" if age % 2 else "image", visible_in_seconds=-age).job_id for age in (3, 5, 2, 1, 4, 6)}
    expired = queue.enter(leased_for_seconds=-1).job_id
    assert taken(queue, JUDGING) == [expired, jobs[5], jobs[3], jobs[1]]
    assert queue.job(expired)["payload"]["expiries"] == 1
    assert taken(queue, READING) == [jobs[6], jobs[4], jobs[2]]


def test_a_closed_gate_leases_no_other_jobs(queue: FilledQueue) -> None:
    """A delayed, a leased and a failed job are not leased, as with open gates."""
    queue.enter(visible_in_seconds=HOUR_SECONDS)
    queue.enter(leased_for_seconds=HOUR_SECONDS)
    queue.enter(status="failed")
    assert taken(queue, JUDGING) == []


@pytest.mark.parametrize(("before", "is_found"), [(LOOK_AHEAD - 1, True), (LOOK_AHEAD, False)])
def test_a_hundred_jobs_are_examined(queue: FilledQueue, before: int, *, is_found: bool) -> None:
    """The hundredth job is found behind jobs that must wait, and the next one is not."""
    for _ in range(before):
        queue.enter(kind="image", visible_in_seconds=-2)
    job_id = queue.enter(visible_in_seconds=-1).job_id
    assert taken(queue, JUDGING) == ([job_id] if is_found else [])


def test_a_skipped_job_is_passed_over(queue: FilledQueue) -> None:
    """A job that came to a closed gate, against the guess of its next step, is not leased again by the same worker."""
    first, second = (queue.enter(visible_in_seconds=-age).job_id for age in (2, 1))
    lease = lease_job(queue.worker, request(JUDGING, skipped_job_ids=(first,)))
    assert lease is not None
    assert lease.job_id == second
    assert lease_job(queue.worker, request(JUDGING, skipped_job_ids=(first,))) is None
    assert taken(queue, JUDGING) == [first]


def test_the_next_search_begins_before_the_jobs_passed_over(queue: FilledQueue) -> None:
    """The returned position is the start of the queue, so that older jobs come first when their gate opens."""
    older = queue.enter(kind="image", visible_in_seconds=-2).job_id
    queue.enter(visible_in_seconds=-1)
    lease = take(queue, JUDGING)
    assert lease is not None
    again = lease_job(queue.worker, request(ALL_OPEN, position=lease.visible_at))
    assert again is not None
    assert again.job_id == older


def test_the_next_job_is_leased_with_the_end_of_one(queue: FilledQueue) -> None:
    """The end of a job and the next lease are one round trip with a closed gate too."""
    queue.enter(kind="image", visible_in_seconds=-3)
    ending, following = (queue.enter(visible_in_seconds=-age) for age in (2, 1))
    lease = take(queue, JUDGING)
    assert lease is not None
    assert lease.job_id == ending.job_id
    settlement = settle_and_lease(queue.worker, lease, COMPLETED, None, request(JUDGING))
    assert settlement.is_written
    assert settlement.next_lease is not None
    assert settlement.next_lease.job_id == following.job_id
    assert queue.results() == [(ending.submission_id, "completed")]


def test_a_search_locks_only_its_job(queue: FilledQueue) -> None:
    """While one lease is not committed, another worker gets the next job at once, and a third the picture behind it."""
    first, second, picture = (
        queue.enter(kind=kind, visible_in_seconds=-age) for age, kind in ((3, "text"), (2, "text"), (1, "image"))
    )
    with queue.worker.transaction(), worker_connection(queue.database) as other:
        lease = take(queue, JUDGING)
        others = [lease_job(other, request(gates)) for gates in (JUDGING, READING)]
    assert [each.job_id for each in (lease, *others) if each] == [first.job_id, second.job_id, picture.job_id]


def test_all_lease_statements_write_the_same() -> None:
    """They differ in the search, and in the position that they return."""
    names = ("lease", "lease_past_closed_gates", "lease_alone")
    updates = [statement(name).partition("update public.")[2] for name in names]
    assert updates[0].replace("job.visible_at::text", "'-infinity' as visible_at") == updates[1] == updates[2]


def test_workers_never_share_a_job(queue: FilledQueue) -> None:
    """Six connections, three for each gate, take each job exactly once, and only jobs of their gate."""
    kinds = {
        queue.enter(kind="image" if n % 2 else "text", leased_for_seconds=-1 if n % 4 == 0 else None).job_id: n % 2
        for n in range(40)
    }

    def take_all(number: int) -> list[tuple[UUID, int]]:
        gates = READING if number % 2 else JUDGING
        with worker_connection(queue.database) as worker:
            return [(lease.job_id, number % 2) for lease in iter(lambda: lease_job(worker, request(gates)), None)]

    with ThreadPoolExecutor(6) as pool:
        found = [each for all_of_one in pool.map(take_all, range(6)) for each in all_of_one]
    assert sorted(found) == sorted(kinds.items())
