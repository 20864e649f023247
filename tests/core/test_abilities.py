"""Abilities of an instance, by its adapters and its database, and the obstacles of single jobs."""

from itertools import combinations
from typing import Any

import pytest

from supervisor.monitor.left_queued import left_in_words, troubling
from worker.adapters.abilities import abilities_of
from worker.core.abilities import (
    ABILITIES_OF_2025,
    ALL_ABILITIES,
    MAX_BITS,
    PROGRAM_FILES,
    Abilities,
    Needs,
    needs_of,
    obstacle_between,
)
from worker.core.modes import Mode
from worker.core.platform import PLATFORM_OF_2025, Platform
from worker.ipc.contract import Obstacle
from worker.ipc.scoreboard import MAX_ABILITIES
from worker.queue.abilities import abilities_claimed
from worker.queue.polls import LeftQueued
from worker.settings import WorkerSettings

SETTINGS = WorkerSettings.model_validate(
    {"LEARNING_DATABASE_URL": "postgresql://w@h/d", "ai_backend": "stub", "worker_test_run_id": "run-1"}
)
PROGRAMS = frozenset(PROGRAM_FILES.values())
DIALOG: dict[str, Any] = {"analysis_mode": "dialog", "student_performance": {"messages": []}}


class Old:
    """An adapter of 2025-12."""

    def extract(self) -> None: ...

    def analyze(self) -> None: ...


class New(Old):
    """An adapter of 2026 for both steps."""

    def analyze_visual(self) -> None: ...

    def analyze_dialog(self) -> None: ...


class Own(New):
    """An adapter that reads pages, as ours."""

    def pages(self) -> None: ...


class Named(Old):
    program_files = ("scratch", "a later kind", 7)


def every_ability() -> list[Abilities]:
    modes = [frozenset(chosen) for size in range(1, 5) for chosen in combinations(Mode, size)]
    programs = [frozenset(chosen) for size in range(4) for chosen in combinations(PROGRAMS, size)]
    return [Abilities(mode, has_practice, program) for mode in modes for has_practice in (True, False) for program in programs]


def test_the_bits_hold_every_ability() -> None:
    """Abilities come back from the scoreboard as they were, and 0 is none of them."""
    for abilities in every_ability():
        bits = abilities.as_bits()
        assert Abilities().with_bits(bits) == abilities
        assert 0 < bits <= MAX_BITS == MAX_ABILITIES


def test_an_instance_takes_what_any_of_its_workers_takes() -> None:
    """Workers differ for a moment, as during a reload. Before the first claim no job is taken for one that stays queued."""
    dialog, practice = Abilities(frozenset({Mode.DIALOG})), Abilities(frozenset({Mode.OCR_TEXT}), has_practice=True)
    claims = [0, dialog.as_bits(), practice.as_bits()]
    found = abilities_claimed(claims, skips_tests=True, test_run_id="run-1")
    assert found == Abilities(frozenset({Mode.DIALOG, Mode.OCR_TEXT}), True, frozenset(), True, "run-1")
    assert abilities_claimed([0], skips_tests=False, test_run_id="") == ALL_ABILITIES


@pytest.mark.parametrize(
    ("vision", "feedback", "modes", "programs"),
    [
        (Old(), Old(), ABILITIES_OF_2025.modes, frozenset()),
        (New(), New(), frozenset(Mode), PROGRAMS),
        (Own(), New(), frozenset(Mode), frozenset()),
        (Named(), Old(), ABILITIES_OF_2025.modes, frozenset({"scratch"})),
        (Named(), New(), frozenset(Mode), frozenset({"scratch"})),
    ],
)
def test_the_methods_of_the_adapters_decide(vision: Any, feedback: Any, modes: frozenset[Mode], programs: frozenset[str]) -> None:
    """A mode needs its method. The platform's package takes program files since it judges pictures, ours does not."""
    found = abilities_of(vision, feedback, SETTINGS, has_practice=True)
    assert found == Abilities(modes, True, programs, False, "run-1")


def test_practice_needs_the_database_too() -> None:
    assert ALL_ABILITIES.on(Platform(has_practice=True)).has_practice
    assert not ALL_ABILITIES.on(PLATFORM_OF_2025).has_practice
    assert not ABILITIES_OF_2025.on(Platform(has_practice=True)).has_practice


@pytest.mark.parametrize(
    ("payload", "row", "abilities", "expected"),
    [
        ({}, {"kind": "text"}, ABILITIES_OF_2025, None),
        ({}, {"kind": "image", "mime_type": "image/heic"}, ABILITIES_OF_2025, None),
        ({}, {"kind": "video"}, ALL_ABILITIES, Obstacle.KIND),
        ({"analysis_mode": "ocr_text"}, {"kind": "video"}, ALL_ABILITIES, Obstacle.KIND),
        ({}, {"kind": "file", "mime_type": "application/x.scratch.sb3"}, ABILITIES_OF_2025, Obstacle.FILE_TYPE),
        ({}, {"kind": "file", "mime_type": "application/x.scratch.sb3"}, ALL_ABILITIES, None),
        ({}, {"kind": "file", "mime_type": "application/later"}, ALL_ABILITIES, Obstacle.FILE_TYPE),
        ({"task_kind": "native"}, {"kind": "image"}, ABILITIES_OF_2025, Obstacle.ADAPTER),
        ({"analysis_mode": "hologram"}, {"kind": "image"}, ALL_ABILITIES, Obstacle.MODE),
        (DIALOG, {"kind": "dialog"}, ALL_ABILITIES, None),
        (DIALOG, {"kind": "image"}, ALL_ABILITIES, None),
        (DIALOG, {"kind": "text"}, ALL_ABILITIES, Obstacle.MODE),
        (DIALOG | {"student_performance": ["a later form"]}, {"kind": "dialog"}, ALL_ABILITIES, Obstacle.MODE),
        ({"task_kind": "dialog"}, {"kind": "text"}, ALL_ABILITIES, Obstacle.MODE),
        ({"analysis_mode": "text_direct"}, {"kind": "dialog"}, ALL_ABILITIES, Obstacle.MODE),
        ({"analysis_mode": "visual_direct"}, {"kind": "text"}, ALL_ABILITIES, Obstacle.MODE),
        ({"practice_attempt_id": "1"}, {"kind": "text"}, ABILITIES_OF_2025, Obstacle.PRACTICE),
        ({"practice_attempt_id": "1"}, {"kind": "text"}, ALL_ABILITIES, None),
    ],
)
def test_the_obstacle(payload: dict[str, Any], row: dict[str, Any], abilities: Abilities, expected: Obstacle | None) -> None:
    """The submission's row decides about kind and file type, whatever the mode is."""
    assert obstacle_between(needs_of(payload, row), abilities) is expected


def test_words_of_a_later_platform_are_kept_short() -> None:
    """The payload keeps no text of any length."""
    found = needs_of({"analysis_mode": "h" * 999}, {"kind": "k" * 999, "mime_type": "m" * 999})
    assert found == Needs("k" * 100, "h" * 100, "m" * 100)


def test_skipped_tests_are_no_trouble() -> None:
    """The remedy is that for the most jobs."""
    left = [LeftQueued("scratch", Obstacle.FILE_TYPE, 2), LeftQueued("text", Obstacle.TEST, 9), LeftQueued("x", Obstacle.MODE, 1)]
    message = left_in_words(troubling(left))
    assert message.startswith("3 submissions cannot be done here and stay queued: 2 scratch (file_type), 1 x (mode).")
    assert "LEARNING_VISION_ADAPTER" in message
    assert left_in_words(left[2:]).startswith("1 submission cannot be done here and stays queued: 1 x (mode).")
