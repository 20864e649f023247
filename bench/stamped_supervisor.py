"""`python -m bench.stamped_supervisor FD start …`: learning-supervisor, each worker of which first writes a stamp to FD."""

import sys
from collections.abc import Mapping
from types import MappingProxyType

from bench.stamp import write_stamp
from supervisor.cli.main import main
from worker import main as worker_main
from worker.ipc.contract import Wiring
from worker.settings import WorkerSettings

if __name__ == "__main__":
    fd, work = int(sys.argv.pop(1)), worker_main.run

    def stamped(wiring: Wiring, settings: WorkerSettings, exported: Mapping[str, str] = MappingProxyType({})) -> int:
        write_stamp(fd, wiring.slot)
        return work(wiring, settings, exported)

    worker_main.run = stamped
    main()
