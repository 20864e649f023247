"""`scripts/inputs [--json]`: every kind of input and of answer through a real queue. Exit code 0 if all ended as they must."""

import argparse
import sys
import time

from rich.console import Console

from testkit.inputs import report, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/inputs", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    began_at_seconds = time.monotonic()
    found = run.run()
    seconds = time.monotonic() - began_at_seconds
    if arguments.json:
        print(report.as_json(found, seconds))
    else:
        report.show(found, seconds, Console(width=130))
    return 1 if found.worker_crashes or any(row.problem for row in found.rows) else 0


sys.exit(main())
