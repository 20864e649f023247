"""Leasing while a gate is closed: what is passed over, how far, and that lookers do not stand in each other's way."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from tests.postgres.filled_queue import FilledQueue, worker_connection
from worker.core.gates import ALL_OPEN, Gates
from worker.core.outcome import Completed, Lease
from worker.queue.leases import LOOK_AHEAD, LeaseRequest, lease_job
from worker.queue.settle import settle_and_lease

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
    """All that can be taken, in order."""
    return [lease.job_id for lease in iter(lambda: take(queue, gates), None)]


NEXT_STAGES: dict[str, tuple[str, Mapping[str, object] | str, Gates]] = {
    "typed text": ("text", {}, JUDGING),
    "picture": ("image", {}, READING),
    "document": ("file", {}, READING),
    "picture that was read": ("image", {"cached_text_md": "read"}, JUDGING),
    "empty page": ("image", {"cached_text_md": ""}, JUDGING),
    "document read in part": ("file", {"cached_pages": ["page 1"], "cached_pages_from": "it"}, READING),
    "text of null": ("image", {"cached_text_md": None}, READING),
    "payload that is none": ("image", "[1]", READING),
}


@pytest.mark.parametrize(("kind", "payload", "gates"), NEXT_STAGES.values(), ids=NEXT_STAGES.keys())
@pytest.mark.parametrize("leased_for_seconds", [None, -1.0], ids=["queued", "expired"])
def test_a_job_comes_to_the_gate_of_its_next_stage(
    queue: FilledQueue, kind: str, payload: Mapping[str, object] | str, gates: Gates, leased_for_seconds: float | None
) -> None:
    """Nobody takes it while that gate is closed, whatever the other one is; and while it is open it is taken."""
    job_id = queue.enter(kind=kind, payload=payload, leased_for_seconds=leased_for_seconds).job_id
    before = queue.everything()
    others = {READING, JUDGING, CLOSED} - {gates}
    assert [take(queue, other) for other in others] == [None, None]
    assert queue.everything() == before
    assert taken(queue, gates) == [job_id]


def test_the_order_among_those_that_may_run_stays(queue: FilledQueue) -> None:
    """Expired leases first, then the oldest, and an expiry is counted as ever."""
    jobs = {age: queue.enter(kind="text" if age % 2 else "image", visible_in_seconds=-age).job_id for age in (3, 5, 2, 1, 4, 6)}
    expired = queue.enter(leased_for_seconds=-1).job_id
    assert taken(queue, JUDGING) == [expired, jobs[5], jobs[3], jobs[1]]
    assert queue.job(expired)["payload"]["expiries"] == 1
    assert taken(queue, READING) == [jobs[6], jobs[4], jobs[2]]


def test_what_may_not_run_is_not_taken_either_way(queue: FilledQueue) -> None:
    """A delayed, a leased and a failed job are no more to be had with one gate closed than with none."""
    queue.enter(visible_in_seconds=HOUR_SECONDS)
    queue.enter(leased_for_seconds=HOUR_SECONDS)
    queue.enter(status="failed")
    assert taken(queue, JUDGING) == []


@pytest.mark.parametrize(("before", "is_found"), [(LOOK_AHEAD - 1, True), (LOOK_AHEAD, False)])
def test_a_hundred_jobs_are_looked_at(queue: FilledQueue, before: int, *, is_found: bool) -> None:
    """The hundredth of the queue is found behind those that have to wait, the one after it is not."""
    for _ in range(before):
        queue.enter(kind="image", visible_in_seconds=-2)
    job_id = queue.enter(visible_in_seconds=-1).job_id
    assert taken(queue, JUDGING) == ([job_id] if is_found else [])


def test_who_was_turned_back_is_passed_over(queue: FilledQueue) -> None:
    """A job that came to a closed gate, though it seemed to need another, is not taken again by who knows of it."""
    first, second = (queue.enter(visible_in_seconds=-age).job_id for age in (2, 1))
    lease = lease_job(queue.worker, request(JUDGING, skipped_job_ids=(first,)))
    assert lease is not None
    assert lease.job_id == second
    assert lease_job(queue.worker, request(JUDGING, skipped_job_ids=(first,))) is None
    assert taken(queue, JUDGING) == [first]


def test_the_next_look_passes_nobody_by(queue: FilledQueue) -> None:
    """Where older jobs were passed over, the place to go on from is before them: they are the first when the gate opens."""
    older = queue.enter(kind="image", visible_in_seconds=-2).job_id
    queue.enter(visible_in_seconds=-1)
    lease = take(queue, JUDGING)
    assert lease is not None
    again = lease_job(queue.worker, request(ALL_OPEN, position=lease.visible_at))
    assert again is not None
    assert again.job_id == older


def test_the_next_job_comes_with_the_end_of_one(queue: FilledQueue) -> None:
    """The end of a job and the lease of the first that may run are one round trip, with a closed gate too."""
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


def test_a_look_keeps_only_the_job_that_it_takes(queue: FilledQueue) -> None:
    """While one looker's lease is not committed, another gets the next job at once and a third the picture behind it."""
    first, second, picture = (
        queue.enter(kind=kind, visible_in_seconds=-age) for age, kind in ((3, "text"), (2, "text"), (1, "image"))
    )
    with queue.worker.transaction(), worker_connection(queue.database) as other:
        lease = take(queue, JUDGING)
        others = [lease_job(other, request(gates)) for gates in (JUDGING, READING)]
    assert [each.job_id for each in (lease, *others) if each] == [first.job_id, second.job_id, picture.job_id]


def test_workers_never_share_a_job(queue: FilledQueue) -> None:
    """Six connections of which three may only read and three only judge take each job exactly once, and each its own kind."""
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
