"""The command scripts/outages."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from testkit.outages.lanes import Lanes
from testkit.outages.plan import draw
from testkit.outages.report import details, document, line
from testkit.outages.verdict import Figures, is_right, totals


def main() -> int:
    """Let every request of a fleet fail in every way, and count what pupils lose by it. Exit code 1 if a goal is missed."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all started processes, like Ctrl-C
    plan, began_at_seconds = draw(arguments.seed, arguments.only, is_long=arguments.long), time.monotonic()
    print(f"outages: {len(plan.cases)} cases in {len(plan.lanes)} lanes, seed {plan.seed}", file=sys.stderr)
    figures = Lanes(plan, _silent if arguments.json else _show, arguments.logs).play()
    found = totals(figures)
    if arguments.json:
        print(json.dumps({**document(plan, figures), "seconds": round(time.monotonic() - began_at_seconds)}))
    else:
        for wrong in details(figures):
            print(wrong)
        print(", ".join(f"{name} {value}" for name, value in found.items()))
    return 0 if plan.cases and is_right(found) else 1


def _show(figures: Figures) -> None:
    print(line(figures), flush=True)


def _silent(_: Figures) -> None:
    """Print nothing, because the JSON object is the only output."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/outages", description=main.__doc__)
    add = parser.add_argument
    add("--only", default="", metavar="PATTERN", help="only cases whose name contains or matches it, such as 'store/*/120s/*'")
    add("--seed", type=int, default=0, help="determines the moments, the order and the lanes (0)")
    add("--long", action="store_true", help="outages of real length with the default settings, which takes more than an hour")
    add("--logs", type=Path, metavar="DIRECTORY", help="keep the log of each fleet whose case was wrong")
    add("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
