"""The command scripts/platform."""

import argparse
import json
import signal
import sys
import time

from testkit.platform.case import chosen
from testkit.platform.report import Row, document, line
from testkit.platform.run import run
from testkit.postgres import Cluster, memory_parent


def main() -> int:
    """Run every mode of the platform's work on each schema, with our and with foreign adapters, to every end.

    Exit code 1 if one case has written something else than expected.
    """
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all started processes, like Ctrl-C
    began_at_seconds = time.monotonic()
    with Cluster.start(memory_parent()) as cluster:
        rows = run(cluster.admin_dsn, chosen(arguments.only), _silent if arguments.json else _show)
    found = document(rows, time.monotonic() - began_at_seconds)
    if arguments.json:
        print(json.dumps(found))
    else:
        print(", ".join(f"{name} {value}" for name, value in found.items() if name not in {"rows", "round_trips"}))
        print(", ".join(f"{name}: {count} round trips" for name, count in found["round_trips"].items()))
    return 0 if rows and not found["wrong"] else 1


def _show(row: Row) -> None:
    print(line(row), flush=True)


def _silent(_: Row) -> None:
    """Print nothing, because the JSON object is the only output."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/platform", description=main.__doc__)
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="only cases whose name contains or matches it, such as 'ocr_text/*'"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
