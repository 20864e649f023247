"""Run the product on this machine: 14 submissions, 4 workers, one killed during its work."""

import argparse
import signal
import sys

from rich.console import Console

from demo.scenario import run
from testkit.database import YEARS, DatabaseRefused
from testkit.postgres import ClusterError


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep everything running until Ctrl-C and print the addresses")
    parser.add_argument("--year", type=int, choices=YEARS, default=2025, help="the platform's schema (2025)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all started processes, like Ctrl-C
    try:
        return run(Console(), keeps=arguments.keep, year=arguments.year)
    except (DatabaseRefused, ClusterError) as refusal:
        print(f"demo: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
