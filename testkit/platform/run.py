"""Run cases, the ones of a schema and a kind of adapter in one room."""

from collections.abc import Callable, Sequence
from itertools import groupby

from testkit.bare_worker import start_forker
from testkit.platform.case import Case
from testkit.platform.play import play
from testkit.platform.report import Row, row_of
from testkit.platform.room import open_room


def run(cluster_dsn: str, cases: Sequence[Case], on_row: Callable[[Row], None]) -> list[Row]:
    """Return a row for each case. The cases must be in the order of the table."""
    rows: list[Row] = []
    with start_forker() as forker:
        for (year, adapter), group in groupby(cases, lambda case: (case.year, case.adapter)):
            with open_room(cluster_dsn, forker, year, adapter) as room:
                for case in group:
                    rows.append(row_of(play(room, case)))
                    on_row(rows[-1])
    return rows
