"""The command scripts/simulate."""

import argparse
import json
import sys
import time

from testkit.simulation.admission import trial as admission
from testkit.simulation.plan import draw
from testkit.simulation.shortest import shortest
from testkit.simulation.table import Visits, table
from testkit.simulation.trial import Outcome, run

HOUR = 3600.0
ADMISSION_STEPS = 24  # with faults
MOST_SHOWN = 3  # violations in full, while all are counted


def main() -> int:
    """Simulate supervisors under faults. Exit code 0: every invariant held, 1: one did not."""
    arguments = _parser().parse_args()
    if arguments.table:
        print(table(Visits()))
        return 0
    began = time.monotonic()
    if arguments.admission:
        return admit(range(arguments.first, arguments.first + arguments.seeds), as_json=arguments.json)
    failed, seconds, visits = run_all(range(arguments.first, arguments.first + arguments.seeds), arguments.minutes)
    shown = {"seeds": arguments.seeds, "hours_simulated": round(seconds / HOUR, 1), "violations": len(failed)}
    if arguments.json:
        print(json.dumps(shown))
    else:
        show(failed)
        print(table(visits))
        print(f"\n{shown['seeds']} seeds, {shown['hours_simulated']} hours in {time.monotonic() - began:.1f} s: ", end="")
        print(f"{len(failed)} violations")
    return 1 if failed else 0


def admit(seeds: range, *, as_json: bool) -> int:
    """Simulate the rules of admission. A step is a second, the time between two samples of Ollama."""
    began = time.monotonic()
    failed, steps, _ = admission.run_all(seeds, ADMISSION_STEPS)
    shown = {"seeds": len(seeds), "hours_simulated": round(steps / HOUR, 1), "violations": len(failed)}
    if as_json:
        print(json.dumps(shown))
    else:
        admission.report(failed)
        seconds = time.monotonic() - began
        print(f"{len(seeds)} seeds, {steps} samples of Ollama in {seconds:.1f} s: {len(failed)} violations")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=12.0, help="simulated minutes with faults; afterwards all jobs must end")
    parser.add_argument("--admission", action="store_true", help="the rules of admission instead, on a simulated Ollama")
    parser.add_argument("--json", action="store_true", help="one object: seeds, hours_simulated, violations")
    parser.add_argument("--table", action="store_true", help="print the state × event table and do nothing else")
    return parser


def run_all(seeds: range, minutes: float) -> tuple[list[Outcome], float, Visits]:
    failed, seconds, visits = [], 0.0, Visits()
    for seed in seeds:
        outcome = run(draw(seed, minutes))
        seconds += outcome.simulated_seconds
        visits.update(outcome.visits)
        if outcome.violation is not None:
            failed.append(outcome)
    return failed, seconds, visits


def show(failed: list[Outcome]) -> None:
    """Print each violation with its seed, and the shortest plan found that leads to it."""
    for outcome in failed[:MOST_SHOWN]:
        short = shortest(outcome, run)
        print(f"seed {short.plan.seed}, {short.plan.workers} workers: {short.violation}")
        for at, what in short.trace:
            print(f"  {at:10.3f}  {what}")


if __name__ == "__main__":
    sys.exit(main())
