"""The command scripts/chaos."""

import argparse
import json
import random
import signal
import sys

from rich.console import Console

from testkit.chaos.environment import set_up
from testkit.chaos.plan import Kind, draw
from testkit.chaos.report import Report
from testkit.chaos.run import Run
from testkit.database import YEARS


def main() -> int:
    """Run fleets with random faults. Exit code 1 if a submission is lost, written twice, read twice or fails without reason.

    Also if one fails for a fault that is not its own, if nothing made progress for more than 60 s, or if `status` was not true.
    """
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all started processes, like Ctrl-C
    year = arguments.year or YEARS[arguments.seed % len(YEARS)]
    print(f"chaos: {arguments.minutes:g} minutes, seed {arguments.seed}, schema of {year}", file=sys.stderr)
    plan = draw(arguments.seed, arguments.minutes, tuple(Kind[name.upper()] for name in arguments.only))
    with set_up(year) as environment:
        report = Report.of(plan, Run(plan, environment).play())
    if arguments.json:
        print(json.dumps({**report.figures(), **report.details()}))
    else:
        report.show(Console(width=120))
    for line in report.violations():
        print(line, file=sys.stderr)
    return 0 if report.is_right else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="duration of the faults, the queue is emptied afterwards (2)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="determines submissions and faults (random)")
    parser.add_argument("--year", type=int, choices=YEARS, help="schema of the database (the seed's: even 2025, odd 2026)")
    kinds = [kind.name.lower() for kind in Kind]
    parser.add_argument("--only", action="append", default=[], choices=kinds, metavar="KIND", help="only faults of this kind")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
