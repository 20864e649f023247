"""Abilities of an instance, needs of a job, and the obstacle between them. A job with an obstacle stays queued."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from worker.core.modes import Mode, mode_of, mode_word
from worker.core.platform import Platform
from worker.core.task import practice_attempt_of
from worker.ipc.contract import Obstacle

KINDS = ("text", "image", "file", "dialog")
PROGRAM_FILES = {
    "application/x.scratch.sb3": "scratch",
    "application/x.makecode.hex": "calliope",
    "application/x.filius.fls": "filius",
}
MAX_WORD = 100  # characters of a word of a later platform


@dataclass(frozen=True, slots=True)
class Abilities:
    """Jobs that an instance takes. The defaults are those of 2025-12.

    `program_files`: those of the values of PROGRAM_FILES that the vision adapter takes. With a `test_run_id` only jobs of that
    test run are taken.
    """

    modes: frozenset[Mode] = frozenset({Mode.TEXT_DIRECT, Mode.OCR_TEXT})
    has_practice: bool = False
    program_files: frozenset[str] = frozenset()
    skips_tests: bool = False
    test_run_id: str = ""

    def on(self, platform: Platform) -> "Abilities":
        """Return the abilities on a database, which may lack the functions of practice."""
        return replace(self, has_practice=self.has_practice and platform.has_practice)

    def as_bits(self) -> int:
        """Return what depends on the adapters and the database, for the scoreboard. Never 0."""
        flags = (*(mode in self.modes for mode in Mode), self.has_practice, *(each in self.program_files for each in _PROGRAMS))
        return sum(flag << place for place, flag in enumerate(flags)) | _WRITTEN

    def with_bits(self, bits: int) -> "Abilities":
        """Return these abilities with those of the bits."""
        flags = [bool(bits >> place & 1) for place in range(_PLACES)]
        modes, programs = zip(Mode, flags, strict=False), zip(_PROGRAMS, flags[len(Mode) + 1 :], strict=True)
        return replace(
            self,
            modes=frozenset(mode for mode, flag in modes if flag),
            has_practice=flags[len(Mode)],
            program_files=frozenset(each for each, flag in programs if flag),
        )


_PROGRAMS = tuple(PROGRAM_FILES.values())
_PLACES = len(Mode) + 1 + len(_PROGRAMS)
_WRITTEN = 1 << _PLACES
MAX_BITS = 2 * _WRITTEN - 1

ABILITIES_OF_2025 = Abilities()
ALL_ABILITIES = Abilities(frozenset(Mode), has_practice=True, program_files=frozenset(_PROGRAMS))


@dataclass(frozen=True, slots=True)
class Needs:
    """Needs of a job: kind, mode, the type of its file if that is neither picture nor PDF, and the functions of practice.

    The payload keeps those of the submission for a job that stays queued, so that no worker has to read the submission again.
    """

    kind: str
    mode: str
    file_type: str = ""
    is_practice: bool = False

    def as_json(self) -> dict[str, str]:
        """Return the needs that the payload keeps and obstacle.sql reads."""
        return {"kind": self.kind, "mode": self.mode, "file_type": self.file_type}


def needs_of(payload: Mapping[str, Any], submission: Mapping[str, Any]) -> Needs:
    """Return the needs of a job. Words of a later platform stay as they are written, at most MAX_WORD characters of each."""
    kind, mode = str(submission.get("kind") or ""), mode_of(payload, submission)
    word = mode.value if mode else mode_word(payload, submission)
    return Needs(kind[:MAX_WORD], word[:MAX_WORD], _file_type(submission), practice_attempt_of(payload) is not None)


def obstacle_between(needs: Needs, abilities: Abilities) -> Obstacle | None:
    """Return what keeps the instance from the job, after its submission was read."""
    if needs.kind not in KINDS:
        return Obstacle.KIND
    if needs.file_type and needs.file_type not in abilities.program_files:
        return Obstacle.FILE_TYPE
    if needs.mode in abilities.modes:
        return Obstacle.PRACTICE if needs.is_practice and not abilities.has_practice else None
    return Obstacle.ADAPTER if needs.mode in set(Mode) else Obstacle.MODE


def _file_type(submission: Mapping[str, Any]) -> str:
    mime_type = str(submission.get("mime_type") or "").lower()
    if mime_type.startswith("image/") or mime_type in {"", "application/pdf"}:
        return ""
    return PROGRAM_FILES.get(mime_type, mime_type)[:MAX_WORD]
