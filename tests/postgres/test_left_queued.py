"""Jobs that this instance cannot do stay queued: no statement takes them, counts them as waiting work or changes them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest

from testkit.filled_queue import FilledQueue
from worker.core.abilities import ABILITIES_OF_2025, ALL_ABILITIES, PROGRAM_FILES, Abilities, needs_of, obstacle_between
from worker.core.gates import ALL_OPEN, Gates
from worker.core.modes import Mode
from worker.core.outcome import Released
from worker.ipc.contract import Obstacle
from worker.queue.abilities import ability_values
from worker.queue.connection import AsyncConnection, connect_monitor
from worker.queue.leases import LOOK_AHEAD, LeaseRequest, lease_alone, lease_job
from worker.queue.polls import (
    LeftQueued,
    is_waiting_besides,
    left_queued,
    poll_queue,
    queue_stats,
    step_backlog,
)
from worker.queue.settle import settle
from worker.queue.statements import statement

pytestmark = pytest.mark.postgres

LEASE_SECONDS, OLD_SECONDS = 45.0, 60.0
RUN = Abilities(test_run_id="run-1")
Answer = TypeVar("Answer")

# payload beyond the common fields, abilities, kind of the label, obstacle
LEFT: dict[str, tuple[dict[str, object], Abilities, str, Obstacle]] = {
    "a mode of a later platform": ({"analysis_mode": "hologram"}, ALL_ABILITIES, "text", Obstacle.MODE),
    "a mode that is no text": ({"analysis_mode": {"a": 1}}, ALL_ABILITIES, "text", Obstacle.MODE),
    "pictures without their method": ({"analysis_mode": "visual_direct"}, ABILITIES_OF_2025, "text", Obstacle.ADAPTER),
    "in capitals": ({"analysis_mode": "VISUAL_DIRECT"}, ABILITIES_OF_2025, "text", Obstacle.ADAPTER),
    "a dialog without its method": ({"analysis_mode": "dialog", "kind": "dialog"}, ABILITIES_OF_2025, "dialog", Obstacle.ADAPTER),
    "a dialog by its task": ({"task_kind": "dialog"}, ABILITIES_OF_2025, "text", Obstacle.ADAPTER),
    "a dialog without a conversation": ({"analysis_mode": "dialog", "kind": "dialog"}, ALL_ABILITIES, "dialog", Obstacle.MODE),
    "a dialog in a later form": (
        {"analysis_mode": "dialog", "kind": "dialog", "student_performance": []},
        ALL_ABILITIES,
        "dialog",
        Obstacle.MODE,
    ),
    "pages of a typed text": (
        {"analysis_mode": "visual_direct", "needs": {"kind": "text", "mode": "visual_direct"}},
        ALL_ABILITIES,
        "text",
        Obstacle.MODE,
    ),
    "a dialog of another mode": (
        {"analysis_mode": "ocr_text", "needs": {"kind": "dialog", "mode": "ocr_text"}},
        ALL_ABILITIES,
        "dialog",
        Obstacle.MODE,
    ),
    "a Scratch file": ({"kind": "file", "task_kind": "scratch"}, ABILITIES_OF_2025, "scratch", Obstacle.FILE_TYPE),
    "a MakeCode file": (
        {"kind": "file", "task_kind": "calliope", "analysis_mode": "ocr_text"},
        ABILITIES_OF_2025,
        "calliope",
        Obstacle.FILE_TYPE,
    ),
    "a Filius file beside others": (
        {"kind": "file", "task_kind": "filius"},
        Abilities(program_files=frozenset({"scratch"})),
        "filius",
        Obstacle.FILE_TYPE,
    ),
    "practice": ({"practice_attempt_id": str(UUID(int=9))}, ABILITIES_OF_2025, "text", Obstacle.PRACTICE),
    "a kind that was read": ({"needs": {"kind": "video", "mode": ""}}, ALL_ABILITIES, "other", Obstacle.KIND),
    "a file type that was read": (
        {"needs": {"kind": "file", "mode": "ocr_text", "file_type": "application/x"}},
        ALL_ABILITIES,
        "file",
        Obstacle.FILE_TYPE,
    ),
    "a mode that was read": ({"needs": {"kind": "image", "mode": "hologram"}}, ALL_ABILITIES, "image", Obstacle.MODE),
    "a test": ({"_gustav_source": "pytest"}, Abilities(skips_tests=True), "text", Obstacle.TEST),
    "no test run": ({}, RUN, "text", Obstacle.TEST_RUN),
    "another test run": ({"_gustav_source": "pytest", "_gustav_test_run_id": "run-2"}, RUN, "text", Obstacle.TEST_RUN),
}
TAKEN: dict[str, tuple[dict[str, object], Abilities]] = {
    "a job of 2025-12": ({}, ABILITIES_OF_2025),
    "an empty mode": ({"analysis_mode": ""}, ABILITIES_OF_2025),
    "no mode": ({"analysis_mode": None}, ABILITIES_OF_2025),
    "text in capitals": ({"analysis_mode": "TEXT_DIRECT"}, ABILITIES_OF_2025),
    "an unknown kind in the payload, because the row's counts": ({"kind": "hologram"}, ABILITIES_OF_2025),
    "an unknown kind of task": ({"task_kind": "hologram"}, ABILITIES_OF_2025),
    "pictures with their method": ({"analysis_mode": "visual_direct"}, ALL_ABILITIES),
    "a dialog with its conversation": (
        {"analysis_mode": "dialog", "student_performance": {}, "needs": {"kind": "dialog", "mode": "dialog"}},
        ALL_ABILITIES,
    ),
    "a Scratch file with its adapter": ({"kind": "file", "task_kind": "scratch"}, ALL_ABILITIES),
    "a picture for a Scratch task": ({"kind": "image", "task_kind": "scratch"}, ABILITIES_OF_2025),
    "practice with its functions": ({"practice_attempt_id": str(UUID(int=9))}, ALL_ABILITIES),
    "no attempt of practice": ({"practice_attempt_id": None}, ABILITIES_OF_2025),
    "a need that is met by now": ({"needs": {"kind": "image", "mode": "visual_direct", "file_type": ""}}, ALL_ABILITIES),
    "needs that are no object": ({"needs": 7}, ABILITIES_OF_2025),
    "a test without the setting": ({"_gustav_source": "pytest", "_gustav_test_run_id": "run-2"}, ABILITIES_OF_2025),
    "the test run": ({"_gustav_source": "pytest", "_gustav_test_run_id": "run-1"}, RUN),
}
GATES = (ALL_OPEN, Gates(vision=True, feedback=False), Gates(vision=False, feedback=True))


def request(abilities: Abilities, gates: Gates = ALL_OPEN, *refused_job_ids: UUID) -> LeaseRequest:
    return LeaseRequest(uuid4(), LEASE_SECONDS, gates=gates, refused_job_ids=refused_job_ids, abilities=abilities)


def monitor(queue: FilledQueue, read: Callable[..., Awaitable[Answer]], *arguments: Any) -> Answer:
    async def answer() -> Answer:
        connection: AsyncConnection = await connect_monitor(queue.database.worker_dsn, "test")
        async with connection:
            return await read(connection, *arguments)

    return asyncio.run(answer())


@pytest.mark.parametrize("status", ["queued", "expired"])
@pytest.mark.parametrize(("payload", "abilities", "kind", "obstacle"), LEFT.values(), ids=LEFT.keys())
def test_a_job_that_cannot_be_done_is_left_alone(
    queue: FilledQueue, payload: dict[str, object], abilities: Abilities, kind: str, obstacle: Obstacle, status: str
) -> None:
    """No statement leases it or changes a column of it, none takes it for waiting work, and it is counted."""
    leased_for_seconds = -1.0 if status == "expired" else None
    job_id = queue.enter(payload=payload, visible_in_seconds=-OLD_SECONDS, leased_for_seconds=leased_for_seconds).job_id
    before = queue.everything()
    found = [lease_job(queue.worker, request(abilities, gates)) for gates in GATES]
    found += [
        lease_job(queue.worker, request(abilities, ALL_OPEN, uuid4())),
        lease_alone(queue.worker, request(abilities), job_id),
    ]
    assert (found, queue.everything()) == ([None] * len(found), before)
    assert not monitor(queue, poll_queue, (), abilities).is_waiting
    assert not monitor(queue, is_waiting_besides, [uuid4()], abilities)
    backlog = monitor(queue, step_backlog, (), abilities)
    assert backlog.vision_jobs + backlog.feedback_jobs == 0
    assert monitor(queue, queue_stats, (), abilities).oldest_wait_seconds is None
    assert monitor(queue, left_queued, (), abilities) == (LeftQueued(kind, obstacle, 1),)


@pytest.mark.parametrize("status", ["queued", "expired"])
@pytest.mark.parametrize(("payload", "abilities"), TAKEN.values(), ids=TAKEN.keys())
def test_a_job_that_can_be_done_is_taken(
    queue: FilledQueue, payload: dict[str, object], abilities: Abilities, status: str
) -> None:
    """Unknown words are news, and the submission's own row decides where the payload may be wrong."""
    leased_for_seconds = -1.0 if status == "expired" else None
    job_id = queue.enter(payload=payload, leased_for_seconds=leased_for_seconds).job_id
    assert monitor(queue, poll_queue, (), abilities).is_waiting
    assert monitor(queue, left_queued, (), abilities) == ()
    lease = lease_job(queue.worker, request(abilities))
    assert lease is not None
    assert lease.job_id == job_id


@pytest.mark.parametrize("gates", GATES)
def test_more_jobs_than_are_examined_hide_no_other(queue: FilledQueue, gates: Gates) -> None:
    """Jobs that stay queued do not count among the first hundred of a search past a closed gate."""
    for _ in range(LOOK_AHEAD + 20):
        queue.enter(kind="file", payload={"task_kind": "scratch"}, visible_in_seconds=-OLD_SECONDS)
    text, picture = queue.enter().job_id, queue.enter(kind="image").job_id
    wanted = {text: gates.feedback, picture: gates.vision}
    leases = [lease_job(queue.worker, request(ABILITIES_OF_2025, gates)) for _ in range(3)]
    assert {lease.job_id for lease in leases if lease} == {job_id for job_id, is_open in wanted.items() if is_open}


def test_they_are_counted_by_kind_and_obstacle(queue: FilledQueue) -> None:
    """The most of them first. A refused row is not counted, because its payload may be damaged."""
    for _ in range(2):
        queue.enter(kind="file", payload={"task_kind": "scratch"})
    queue.enter(payload={"analysis_mode": "dialog", "kind": "dialog"})
    refused = queue.enter(payload={"analysis_mode": "dialog", "kind": "dialog"}).job_id
    queue.enter()
    assert monitor(queue, left_queued, (refused,), ABILITIES_OF_2025) == (
        LeftQueued("scratch", Obstacle.FILE_TYPE, 2),
        LeftQueued("dialog", Obstacle.ADAPTER, 1),
    )


def test_a_job_in_work_elsewhere_is_not_counted(queue: FilledQueue) -> None:
    """Another instance does it, so it does not wait."""
    queue.enter(payload={"analysis_mode": "hologram"}, leased_for_seconds=OLD_SECONDS)
    assert monitor(queue, left_queued, (), ALL_ABILITIES) == ()


def test_a_refused_row_waits_without_its_payload_being_read(queue: FilledQueue) -> None:
    """The poll reports it as waiting whatever its payload is, because a worker tries it again."""
    job_id = queue.enter(payload={"analysis_mode": "hologram"}).job_id
    assert monitor(queue, poll_queue, (job_id,), ALL_ABILITIES).is_waiting
    assert not monitor(queue, is_waiting_besides, [job_id], ALL_ABILITIES)


def test_a_job_that_is_put_back_keeps_everything_but_its_needs(queue: FilledQueue) -> None:
    """No attempt, crash or expiry is counted, its place stays, and the same instance passes it over from now on."""
    payload: dict[str, object] = {"student_performance": {}}
    job_id = queue.enter(kind="image", payload=payload, visible_in_seconds=-OLD_SECONDS, retry_count=2).job_id
    before, needs = queue.job(job_id), needs_of({}, {"kind": "image", "internal_metadata": {"analysis_mode": "dialog"}})
    lease = lease_job(queue.worker, request(ABILITIES_OF_2025))
    assert lease is not None
    assert settle(queue.worker, lease, Released("unable", needs=needs))
    after = queue.job(job_id)
    assert after["payload"] == before["payload"] | {"needs": {"kind": "image", "mode": "dialog", "file_type": ""}}
    assert {name for name in before if before[name] != after[name]} == {"payload", "updated_at"}
    assert lease_job(queue.worker, request(ABILITIES_OF_2025)) is None
    assert lease_job(queue.worker, request(ALL_ABILITIES)) is not None


def test_only_the_holder_of_the_lease_puts_a_job_back(queue: FilledQueue) -> None:
    """A worker whose lease was taken over writes nothing."""
    queue.enter(kind="image")
    lost = lease_job(queue.worker, request(ABILITIES_OF_2025))
    assert lost is not None
    queue.owner.execute("update learning_submission_jobs set leased_until = now()")
    assert lease_job(queue.worker, request(ABILITIES_OF_2025)) is not None
    before = queue.everything()
    assert not settle(queue.worker, lost, Released("unable", needs=needs_of({}, {"kind": "video"})))
    assert queue.everything() == before


WORDS = (None, "", 7, "text_direct", "OCR_TEXT", "visual_direct", "dialog", "hologram")
ROWS = tuple(
    {"kind": kind, "mime_type": mime_type, "internal_metadata": {"analysis_mode": word}}
    for kind, word, mime_type in product(
        ("text", "image", "file", "dialog", "video"), (None, "dialog", "hologram"), ("image/png", *PROGRAM_FILES, "application/x")
    )
)
TASK_KINDS = (None, "native", "scratch", "dialog", "hologram")
CONVERSATIONS: tuple[object, ...] = (None, {}, [])
JUDGE = f"select {statement('obstacle')} as obstacle from jsonb_array_elements(%(payloads)s::jsonb) as given(payload)"
EACH_ABILITY = (
    ABILITIES_OF_2025,
    ALL_ABILITIES,
    Abilities(frozenset({Mode.TEXT_DIRECT, Mode.OCR_TEXT, Mode.DIALOG})),
    Abilities(frozenset({Mode.TEXT_DIRECT, Mode.OCR_TEXT, Mode.VISUAL_DIRECT}), program_files=frozenset({"scratch"})),
)


@pytest.mark.parametrize("abilities", EACH_ABILITY, ids=["2025", "all", "dialog", "visual and scratch"])
def test_a_job_that_a_worker_puts_back_is_found_by_no_search(queue: FilledQueue, abilities: Abilities) -> None:
    """The worker's judgement of a submission and the statement's of its needs agree, else a job would go round for ever."""
    judged = [
        (payload, row, obstacle_between(needs_of(payload, row), abilities))
        for word, task_kind, row, conversation in product(WORDS, TASK_KINDS, ROWS, CONVERSATIONS)
        for payload in [{"analysis_mode": word, "task_kind": task_kind, "kind": row["kind"], "student_performance": conversation}]
    ]
    left = [(payload | {"needs": needs_of(payload, row).as_json()}, obstacle) for payload, row, obstacle in judged if obstacle]
    found = queue.worker.execute(JUDGE, {"payloads": json.dumps([payload for payload, _ in left]), **ability_values(abilities)})
    assert len(left) > len(judged) / 10
    assert [(each, row["obstacle"]) for each, row in zip(left, found, strict=True) if row["obstacle"] is None] == []
