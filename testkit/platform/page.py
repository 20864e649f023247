"""Text of docs/platform-cases.md: the table of all cases with what each must write."""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from testkit.platform.case import Case, Ending, Work, all_cases
from testkit.platform.verdict import ROUND_TRIPS, WITHOUT_TEXT, code_of

_HEAD: Final = """\
# The platform's work, case by case

`scripts/settings` generates this page from the cases of `scripts/platform`. [Testing][how] describes how a case is run.
`tests/system/test_platform.py` checks each cell in the database: one result, its text and codes, no call of a model repeated
whose result was committed, a result that the platform's pages can show, and the round trips.

[how]: testing.md#every-mode-ends-in-every-way-on-each-schema

`scripts/platform --json` prints these keys:

| Key | Meaning | Expected |
|---|---|---|
| `cases` | cells of the table with all their ends | {cases} |
| `wrong` | cases with another content of the database or other calls | 0 |
| `left_queued` | jobs that stay in the queue, because no worker may take them | {left} |
| `failed_unknown` | submissions that failed with a code that their case does not have | 0 |
| `seconds` | length of the run, 64 on two quiet cores | below 180 |
| `round_trips` | statements of a job that succeeds, by mode, schema and adapter | the last column, at most |
| `rows` | name, status, code and differences of each case | |

Ends: a **transient** error is an unusable answer or the adapter's own transient error, once. The job is tried again, in the
step that failed. A **permanent** one fails the submission and the job with the code. A worker is **killed** in each of these
places: {kills}. Another worker ends the job, and repeats the call of that step alone.

| Work | Schema | Adapter | Text stored | Success | Transient error | Permanent error | Killed | Round trips |
|---|---|---|---|---|---|---|---|---|
"""
_TEXTS: Final = {True: "as read", False: "as typed"}
_SCHEMAS: Final = {2025: "2025-12", 2026: "2026"}


def cases_page() -> str:
    """Content of docs/platform-cases.md, a row for each work, schema and adapter."""
    cases = list(all_cases())
    kills = ", ".join(ending.value.removeprefix("killed ") for ending in Ending if ending.is_kill)
    left = sum(case.ending is Ending.LEFT for case in cases)
    groups = groupby(cases, lambda case: (case.work, case.year, case.adapter))
    return _HEAD.format(cases=len(cases), left=left, kills=kills) + "".join(_row(list(group)) for _, group in groups)


def _row(cases: list[Case]) -> str:
    case = cases[0]
    cells = (f"`{case.work}`", _SCHEMAS[case.year], case.adapter, *_cells(cases))
    return f"| {' | '.join(cells)} |\n"


def _cells(cases: list[Case]) -> Iterator[str]:
    """Yield the text, the four kinds of ends and the round trips."""
    if cases[0].ending is Ending.LEFT:
        yield from ("–", "stays queued", "–", "–", "–", "–")
        return
    endings = {case.ending: case for case in cases}
    yield _text_of(cases[0].work)
    yield "completed"
    yield _steps(case for ending, case in endings.items() if ending.value.startswith("transient"))
    yield "<br>".join(f"{ending.step}: `{code}`" for ending, case in endings.items() if (code := code_of(case)))
    yield f"completed, {sum(ending.is_kill for ending in endings)} places"
    yield str(ROUND_TRIPS[cases[0].work, cases[0].year])


def _steps(cases: Iterator[Case]) -> str:
    return "completed after one in " + " or ".join(case.ending.step for case in cases)


def _text_of(work: Work) -> str:
    return "none" if work in WITHOUT_TEXT else _TEXTS[work.is_read]
