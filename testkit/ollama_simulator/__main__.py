"""`python -m testkit.ollama_simulator`: parse the options and serve until a signal."""

import asyncio
import os
import signal
import sys

from testkit.ollama_simulator.server import serve
from testkit.ollama_simulator.settings import parse
from testkit.ollama_simulator.simulator import never_fitting
from testkit.parent_death import die_with


def main() -> None:
    """Exit status: 0 after SIGTERM or SIGINT, 1 if the port is not free, 2 for a wrong option."""
    settings = parse(sys.argv[1:])
    if settings.parent_pid is not None:
        if os.getppid() != settings.parent_pid:
            sys.exit("ollama_simulator: the parent has already ended")
        die_with(settings.parent_pid, signal.SIGKILL)()
    for name, size_bytes in never_fitting(settings).items():
        print(
            f"ollama_simulator: {name} needs {size_bytes / 2**30:.1f} GiB: each load will be killed",
            file=sys.stderr,
        )
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        sys.exit(f"ollama_simulator: cannot listen on {settings.host} port {settings.port}: {error.strerror}")


main()
