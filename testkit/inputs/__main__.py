"""The command scripts/inputs."""

import argparse
import json
import sys
import time

from rich.console import Console

from testkit.inputs.catalogue import inputs
from testkit.inputs.report import document, show
from testkit.inputs.run import run


def main() -> int:
    """Send every kind of input and of answer through a real queue. Exit code 1 if one has another result than expected."""
    parser = argparse.ArgumentParser(prog="scripts/inputs", description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments, given = parser.parse_args(), inputs()
    began_at_seconds = time.monotonic()
    finished = run(given)
    found = document(finished, given, time.monotonic() - began_at_seconds)
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found, Console(width=160))
    return 1 if found["unexpected"] or finished.worker_crashes else 0


if __name__ == "__main__":
    sys.exit(main())
