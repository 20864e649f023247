"""The hold of pictures: begun by files that fail, ended by a probe and a file that is read, and never by one job's own fault."""

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

import pytest

from supervisor.admission.apply import apply
from supervisor.admission.facts import Fact, FileFailed, FileRead, StoreProbeBegun, StoreProbeEnded
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState
from supervisor.admission.store import FILE_MISSING, MAX_JOBS, STORE_ERRORS, Store

NOW = 1000.0
A, B, C, D = (UUID(int=number) for number in range(1, 5))
NEW = AdmissionState.of(AdmissionPolicy("see:latest", "say:latest"), NOW)
PROBE_SECONDS = 2.0


def after(*facts: Fact, store: Store | None = None) -> Store:
    state = NEW if store is None else replace(NEW, store=store)
    for fact in facts:
        state = apply(state, fact)
    return state.store


def failed(job_id: UUID = A, error_class: str = "StoreUnreachable", at: float = NOW) -> FileFailed:
    return FileFailed(error_class, job_id, at)


def missing(*job_ids: UUID) -> Iterable[FileFailed]:
    return (failed(job_id, FILE_MISSING) for job_id in job_ids)


def probed(error_class: str = "", at: float = NOW + 2, retry_after: float = 0.0) -> tuple[Fact, ...]:
    return StoreProbeBegun(at), StoreProbeEnded(error_class, at, retry_after)


@pytest.mark.parametrize("error_class", sorted(STORE_ERRORS - {FILE_MISSING}))
def test_one_failed_file_holds_pictures_back(error_class: str) -> None:
    """Each of these classes is the store's fault. A failed probe keeps the begin of the hold and names the latest class."""
    store = after(failed(error_class=error_class))
    assert (store.is_closed, store.error_class, store.since_seconds) == (True, error_class, NOW)
    later = after(failed(B, at=NOW + 1), *probed("StoreRejected"), store=store)
    assert (later.is_closed, later.error_class, later.since_seconds) == (True, "StoreRejected", NOW)


def test_a_probe_and_a_file_end_the_hold() -> None:
    """One picture at a time until a file is read."""
    back = after(failed(), *probed())
    assert (back.is_closed, back.is_back, back.is_doubtful, bool(back.error_class)) == (False, True, False, True)
    assert after(FileRead(A, NOW + 3), store=back) == Store()


def test_a_file_that_was_read_before_ends_no_hold() -> None:
    """A page of a document may be in work when the store fails."""
    assert after(failed(), FileRead(B, NOW + 1)).is_closed


def test_another_job_that_fails_after_a_probe_closes_the_gate_again() -> None:
    """The store answers probes and no files, so the next probe waits longer, up to a small maximum."""
    store, waits = after(failed()), []
    for job_id in (B, C, D, UUID(int=9)):
        waits.append(wait_of(store))
        store = after(*probed(), failed(job_id), store=store)
        assert store.is_closed
    assert (waits, wait_of(store)) == ([2.0, 4.0, 8.0, 8.0], 8.0)


def wait_of(store: Store) -> float:
    """Seconds from the begin of the hold to its first probe."""
    store = replace(store, closed_at_seconds=NOW, probed_at_seconds=NOW)
    return next(float(wait) for wait in range(100) if store.is_probe_due(NOW + wait, PROBE_SECONDS))


def test_one_job_alone_closes_the_gate_once() -> None:
    """Its file may be what the store cannot read. It stands at the head of the queue, so the others would starve."""
    back = after(failed(error_class="StoreFailed"), *probed(), failed(error_class="StoreFailed"))
    assert (back.is_closed, back.is_doubtful) == (False, True)
    read = after(FileRead(B, NOW + 5), store=back)
    assert (read.error_class, read.failed) == ("", frozenset({A}))
    assert not after(failed(error_class="StoreFailed"), store=read).is_closed
    assert after(FileRead(A, NOW + 6), store=read) == Store()


def test_missing_files_of_several_jobs_in_a_row_are_the_stores_fault() -> None:
    """Two are not, and one job counts once. A file that is read between them starts the count again."""
    assert after(*missing(A, B, B, A)) == Store(failed=frozenset({A, B}), misses=2)
    assert not after(*missing(A, B), FileRead(D, NOW), *missing(C)).error_class
    assert after(*missing(A, B, C)).is_closed


def test_missing_files_close_the_gate_for_no_longer_than_a_probe() -> None:
    """The bucket answers, so the next jobs are tried one by one, and the hold stays visible until a file is read."""
    back = after(*missing(A, B, C), *probed(), *missing(A, B, C))
    assert (back.is_closed, back.is_doubtful, back.error_class) == (False, True, FILE_MISSING)
    assert after(FileRead(D, NOW + 9), store=back).error_class == ""


def test_a_pause_that_the_store_asks_for_is_kept() -> None:
    """The next hold begins without it."""
    busy = after(failed(), *probed("StoreBusy", retry_after=7.0))
    assert wait_of(busy) == 7.0
    assert wait_of(after(*probed(), FileRead(A, NOW), failed(), store=busy)) == 2.0


def test_the_number_of_remembered_jobs_is_bounded() -> None:
    jobs = [failed(UUID(int=number)) for number in range(MAX_JOBS + 9)]
    assert len(after(*jobs).failed) == MAX_JOBS
