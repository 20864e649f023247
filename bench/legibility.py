"""Right and wrong judgements of pages by their picture, and the time that a judgement takes."""

import os
import statistics
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from typing import Any

from testkit.inputs.hard_pages import BLANK, BLURRED, FAINT, KINDS, SMALL, HardPage
from worker.documents.ink import Ink, ink_of
from worker.documents.legibility import notes_of
from worker.documents.page import Note

PAGES = 200  # of each kind, one for each seed
FIRST_SEED = 10_000  # the limits were set with other seeds
_WANTED: Mapping[str, Note] = {
    **dict.fromkeys(BLANK, Note.BLANK),
    "faint": Note.LOW_CONTRAST,
    **dict.fromkeys(BLURRED, Note.BLURRED),
    **dict.fromkeys(SMALL, Note.SMALL),
}
_ALLOWED: Mapping[Note, Collection[str]] = {  # for a page that is bad in more than one way each of its notes is right
    Note.BLANK: BLANK,
    Note.LOW_CONTRAST: {*FAINT, *BLURRED, *BLANK},
    Note.BLURRED: {*FAINT, *BLURRED, *BLANK},
    Note.SMALL: {*FAINT, *SMALL, *BLANK},
}


@dataclass(frozen=True, slots=True)
class _Judged:
    kind: str
    notes: tuple[Note, ...]
    has_no_ink: bool  # by the rule for an empty answer
    milliseconds: float


def measure() -> dict[str, Any]:
    """Judge PAGES pages of each kind. `false_` counts notes that a page must not have, `found_` those that it should."""
    with Pool(os.cpu_count()) as pool:
        judged = pool.starmap(_judge, [(kind, FIRST_SEED + seed) for kind in KINDS for seed in range(PAGES)], chunksize=4)
    return {
        "pages": len(judged),
        "written_pages": sum(each.kind not in BLANK for each in judged),
        **{f"false_{note}": _false(judged, note) or 0 for note in _ALLOWED},
        "written_pages_without_ink": sum(each.has_no_ink for each in judged if each.kind not in BLANK),
        **{f"found_{note}_of_{kind}": _found(judged, kind, note) for kind, note in _WANTED.items()},
        "judgement_ms": _median_ms(each for each in judged if each.kind not in BLANK),
        "judgement_ms_of_white": _median_ms(each for each in judged if each.kind == "white"),
    }


def _judge(kind: str, seed: int) -> _Judged:
    page: HardPage = KINDS[kind](seed)
    started_at_seconds = time.process_time()
    notes = notes_of(page.picture)
    milliseconds = 1000 * (time.process_time() - started_at_seconds)
    return _Judged(kind, notes, kind in FAINT and ink_of(page.picture) is Ink.NONE, milliseconds)


def _false(judged: Sequence[_Judged], note: Note) -> str:
    """Name the kinds with their numbers, so that a rule that fails shows where."""
    wrong = Counter(each.kind for each in judged if note in each.notes and each.kind not in _ALLOWED[note])
    return ", ".join(f"{kind}: {pages}" for kind, pages in wrong.items())


def _found(judged: Sequence[_Judged], kind: str, note: Note) -> str:
    noted = [note in each.notes for each in judged if each.kind == kind]
    return f"{sum(noted)} of {len(noted)}"


def _median_ms(judged: Iterable[_Judged]) -> float:
    return round(statistics.median(each.milliseconds for each in judged), 1)
