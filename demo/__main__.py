"""`scripts/demo`: see the whole thing work, recover from a kill, and account for every submission."""

import argparse
import signal
import sys

from rich.console import Console

from demo.scenario import run
from testkit.database import DatabaseRefused
from testkit.postgres import ClusterError


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C and say where to look")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: everything that was started is ended
    try:
        return run(Console(), keeps=arguments.keep)
    except (DatabaseRefused, ClusterError) as refusal:
        print(f"demo: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
