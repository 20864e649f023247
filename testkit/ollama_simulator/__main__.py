"""`python -m testkit.ollama_simulator`: reads the settings, ties itself to its parent if asked to, serves until a signal."""

import asyncio
import sys

from testkit.ollama_simulator.parent import die_with_parent
from testkit.ollama_simulator.server import serve
from testkit.ollama_simulator.settings import parse
from testkit.ollama_simulator.simulator import never_fitting


def main() -> None:
    """Exit status: 0 after SIGTERM or SIGINT, 1 when the port cannot be had, 2 for a wrong option."""
    settings = parse(sys.argv[1:])
    if settings.parent_pid is not None:
        die_with_parent(settings.parent_pid)
    for name, size_bytes in never_fitting(settings).items():
        print(f"ollama_simulator: {name} needs {size_bytes / 2**30:.1f} GiB and will be killed at every load", file=sys.stderr)
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        sys.exit(f"ollama_simulator: cannot listen on {settings.host} port {settings.port}: {error.strerror}")


main()
